"""Where an attack stands that only queries a model: who is still in play, at which point, after how many queries."""

import torch
from torch import Tensor

from sparring.attacks.query import Answer, Query
from sparring.attacks.result import AttackResult
from sparring.errors import InputError
from sparring.inputs import check_count
from sparring.randomness import draw_seed, given_or_zero, uniform
from sparring.threat import ThreatModel


class Hunt:
    """A batch under a query attack, of which those that succeeded, or spent their budget, are asked no more.

    The first query of each sample is x itself. A sample with eps 0 has no other point, so it stops there.
    """

    def __init__(
        self,
        query: Query,
        x: Tensor,
        threat: ThreatModel,
        max_queries: int,
        generator: torch.Generator | None,
    ) -> None:
        self.query, self.x, self.threat, self.max_queries = query, x, threat, max_queries
        self.radii = threat.radii(x)
        answer = query.value(x)
        self.x_adv = x.clone()
        self.objective, self.success = answer.objective.clone(), answer.success.clone()
        self.queries = torch.ones(len(x), dtype=torch.int64, device=x.device)
        # One number is drawn from the caller's generator, however long the hunt lasts.
        self._seeds = torch.Generator().manual_seed(draw_seed(given_or_zero(generator)))
        # Hashing these few numbers instead of the whole sample gives random numbers that are its own at less cost.
        self._marks = uniform(x, draw_seed(self._seeds), 4)

    def rows(self, cost: int = 1) -> Tensor:
        """Return the numbers of the samples that have not succeeded and can afford so many queries more."""
        within = self.queries + cost <= self.max_queries
        return (~self.success & (self.radii > 0) & within).nonzero().squeeze(1)

    def seed(self) -> int:
        """Return the next seed. Whoever is in play, the k-th call returns the same."""
        return draw_seed(self._seeds)

    def marks(self, rows: Tensor) -> Tensor:
        """Return for each of these samples some numbers of its own, to be hashed with a seed."""
        return self._marks[rows]

    def ask(self, points: Tensor, rows: Tensor) -> Answer:
        """Return the answer at points of the samples named in `rows`, and count it for each. One forward pass."""
        self.query.about(rows)
        answer = self.query.value(points)
        self.queries.index_add_(0, rows, torch.ones_like(rows))
        # NaN is the largest value for argmax, but it is no sign of another class.
        return Answer(answer.objective, answer.success & ~answer.objective.isnan())

    def move(self, points: Tensor, rows: Tensor, answer: Answer) -> None:
        """Go to these points, better or not."""
        self.x_adv[rows], self.objective[rows], self.success[rows] = points, answer.objective, answer.success

    def climb(self, points: Tensor, rows: Tensor, answer: Answer) -> Tensor:
        """Go to those of these points that succeed or raise the objective; return which ones."""
        wins = answer.success | (answer.objective > self.objective[rows])
        self.move(points[wins], rows[wins], Answer(answer.objective[wins], answer.success[wins]))
        return wins

    def result(self) -> AttackResult:
        """Put together what the attack returns."""
        return AttackResult(
            x_adv=self.x_adv,
            success=self.success,
            distance=self.threat.distance(self.x_adv, self.x),
            objective=self.objective,
            forwards=self.query.forwards,
            backwards=0,
            queries=self.queries,
        )


def no_hunt(x: Tensor, y: Tensor) -> AttackResult:
    """Return the result of a query attack on no samples: the model is not asked."""
    nothing = x.detach().new_zeros(0)
    return AttackResult(
        x_adv=x.detach().clone(),
        success=torch.zeros_like(y, dtype=torch.bool),
        distance=nothing.to(torch.float64),
        objective=nothing,
        forwards=0,
        backwards=0,
        queries=torch.zeros_like(y),
    )


def check_budget(max_queries: int, step: int, why: str) -> None:
    """Refuse a budget that does not pay for x and one step."""
    check_count("max_queries", max_queries, least=1)
    if max_queries < step + 1:
        raise InputError(
            f"max_queries is {max_queries} but the smallest attack takes {step + 1}: one for x and {why}; "
            f"allow {step + 1} or more"
        )
