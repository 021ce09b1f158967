"""Auto-PGD toward each of the likeliest wrong classes."""

import torch
from torch import Tensor

from sparring.attacks.apgd import search
from sparring.attacks.lanes import random_starts, settle
from sparring.attacks.query import attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.inputs import Model, check_count
from sparring.objectives import Objective, dlr
from sparring.threat import ThreatModel


def apgd_t(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    top: int = 9,
    steps: int = 100,
    restarts: int = 1,
    objective: Objective = dlr,
    stop_on_success: bool = False,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Run `apgd` toward each of the `top` likeliest wrong classes; any class but the label is a success.

    Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020, section 5 (APGD-T), where the
    objective is targeted dlr and `top` is 9. The objective must have a targeted form, which is what is climbed; dlr
    needs four classes for it, `objectives.lead` has it for any number. The result's `objective` is the untargeted
    form, by which the best of all tries is chosen, a success before a failure. Classes are ranked by the logits at x;
    where the model has fewer wrong classes than `top`, all are tried.

    Shapes, restarts, generator, `stop_on_success` and errors are those of `apgd`. All classes and restarts run in one
    batch of restarts * top * n; every class starts from the same points. Costs at most steps + 4 forward and steps
    backward passes.
    """
    for name, count in (("top", top), ("steps", steps), ("restarts", restarts)):
        check_count(name, count, least=1)
    with attacking(model, x, y, threat, None, objective) as query:
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        classes = query.runners_up(x, top)
        starts = random_starts(x, threat, restarts, generator)
        start = starts.repeat(classes.shape[1], *[1] * (x.ndim - 1))
        aim = classes.t().repeat_interleave(restarts, dim=0).flatten()
        points, _ = search(query, x, threat, start, steps=steps, stop_on_success=stop_on_success, aim=aim)
        query.about(torch.arange(len(x), device=x.device).repeat(len(aim) // len(x)))
        return settle(points, query.value(points), x, threat, query, again=True)
