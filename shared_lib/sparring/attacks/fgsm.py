"""The fast gradient sign method and its l2 and l1 sisters."""

from torch import Tensor

from sparring.attacks.query import attacking, nothing_to_do, report
from sparring.attacks.result import AttackResult
from sparring.inputs import Model
from sparring.objectives import Objective, cross_entropy
from sparring.threat import ThreatModel


def fgsm(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
) -> AttackResult:
    """Move x to the point of the threat model that maximizes the objective's linearization at x.

    Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015, section 4; for l2 and
    l1 the same argument with the dual norm, and always with the bounds taken into account (see
    `ThreatModel.worst_case`). On a linear model nothing is stronger.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,). Costs two forward
    passes and one backward pass. Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    with attacking(model, x, y, threat, targets, objective) as query:
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        _, gradient = query.gradient(x)
        x_adv = threat.worst_case(gradient, x)
        return report(x_adv, x, query.value(x_adv), threat, query)
