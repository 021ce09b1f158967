"""Auto-PGD: projected gradient ascent that finds its own step length."""

import torch
from torch import Tensor

from sparring.attacks.climb import Climb, climb
from sparring.attacks.halving import Halving
from sparring.attacks.lanes import random_starts, repeated, settle
from sparring.attacks.query import Answer, Query, attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.attacks.sparse import Sparse
from sparring.inputs import Model, check_count
from sparring.objectives import Objective, cross_entropy
from sparring.threat import ThreatModel


def apgd(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    restarts: int = 1,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
    stop_on_success: bool = False,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Climb the objective from a random start with momentum, and shorten the steps where they stop paying.

    Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020, algorithm 1, for linf and l2: steps of
    2 eps at first; at checkpoints a sample that made too little headway halves its steps and starts over from its
    highest point. For l1, Croce and Hein, "Mind the box", ICML 2021, section 3: signed steps along few coordinates,
    projected onto ball and bounds at once; here coordinates that have no room left don't count among the few. No
    step size is to be chosen. With `objective=dlr` this is the second of the paper's two versions.

    Of all points visited in all restarts, each sample keeps the best: first a success, then the higher objective.
    With `stop_on_success` a sample leaves the batch soon after its first success, which saves time where many
    succeed early; its objective is then not the highest that could be reached.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,). All restarts run
    in one batch of restarts * n. One number per restart is drawn from `generator`; without a generator the starts are
    the same on every call. Costs at most steps + 1 forward and steps backward passes, and one more forward pass with
    restarts or `stop_on_success`. Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    check_count("steps", steps, least=1)
    check_count("restarts", restarts, least=1)
    with attacking(model, x, y, threat, targets, objective) as query:
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        start = random_starts(x, threat, restarts, generator)
        points, answer = search(query, x, threat, start, steps=steps, stop_on_success=stop_on_success)
        return settle(points, answer, x, threat, query, again=restarts > 1 or stop_on_success)


def search(
    query: Query,
    x: Tensor,
    threat: ThreatModel,
    start: Tensor,
    *,
    steps: int,
    stop_on_success: bool,
    aim: Tensor | None = None,
) -> tuple[Tensor, Answer]:
    """Run algorithm 1 from every row of `start`, whole lanes of n; return each row's best point."""
    lanes = len(start) // len(x)
    samples = torch.arange(len(x), device=x.device).repeat(lanes)
    query.about(samples, aim)
    answer, gradient = query.gradient(start)
    first = Climb(
        x=repeated(x, lanes),
        radii=threat.radii(x).repeat(lanes),
        samples=samples,
        point=start,
        before=start,
        gradient=gradient,
        value=answer.objective,
        top=start,
        top_gradient=gradient,
        highest=answer.objective,
    )
    pace = Sparse(first, threat, steps) if threat.norm == "l1" else Halving(first, threat, steps)
    return climb(query, first, answer, pace, steps=steps, stop_on_success=stop_on_success, aim=aim)
