"""Several tries at every sample, side by side in one batch.

Row `lane * n + i` is a try at sample i. The first lane comes first, so that a batch of one lane is the batch itself.
"""

import torch
from torch import Tensor

from sparring.attacks.ascent import better
from sparring.attacks.query import Answer, Query, report
from sparring.attacks.result import AttackResult
from sparring.randomness import given_or_zero
from sparring.threat import ThreatModel


def repeated(x: Tensor, lanes: int) -> Tensor:
    """Return x once per lane, shape (lanes * n, ...)."""
    return x if lanes == 1 else x.repeat(lanes, *[1] * (x.ndim - 1))


def random_starts(x: Tensor, threat: ThreatModel, lanes: int, generator: torch.Generator | None) -> Tensor:
    """Return a random start for every row; one number per lane is drawn from the generator."""
    generator = given_or_zero(generator)
    return torch.cat([threat.random_start(x, generator) for _ in range(lanes)])


def still_open(success: Tensor, samples: Tensor, count: int) -> Tensor | None:
    """Return the rows whose sample has no success in any lane, or None if these are all rows.

    `samples` says for each row which of the `count` samples it tries. Waits for the device, so it is not for every
    step.
    """
    hit = torch.zeros(count, dtype=torch.int64, device=success.device).index_add(0, samples, success.long())
    rows = (hit == 0)[samples].nonzero().squeeze(1)
    return None if len(rows) == len(samples) else rows


def settle(
    points: Tensor, answer: Answer, x: Tensor, threat: ThreatModel, query: Query, *, again: bool
) -> AttackResult:
    """Return each sample's best row. With `again`, the model is asked once more about what is returned.

    That is needed where the rows were judged in batches of another size: a model's sums may differ in the last bit,
    and a success has to hold for who asks about these n samples.
    """
    n = len(x)
    best, held = points[:n], Answer(*(value[:n] for value in answer))
    for start in range(n, len(points), n):
        lane = slice(start, start + n)
        best, held = better(best, held, points[lane], Answer(*(value[lane] for value in answer)))
    query.about(torch.arange(n, device=x.device))
    return report(best, x, query.value(best) if again else held, threat, query)
