"""The loop of apgd, for any number of tries at each sample in one batch; its pace is the norm's own affair."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sparring.attacks.ascent import better
from sparring.attacks.lanes import still_open
from sparring.attacks.query import Answer, Query

# Rows are looked through for samples that are done after the first step and then every so many: each look waits for
# the device, each row kept too long costs a pass.
_CADENCE = 4


class Climb(NamedTuple):
    """Where every row of a batch stands.

    `point` is where it is, `before` where it was, with the objective's `gradient` and `value` at `point`. `top` is
    where the objective was `highest`, with `top_gradient`. `samples` says which sample the row is a try at; `x` and
    `radii` are the sample's own.
    """

    x: Tensor
    radii: Tensor
    samples: Tensor
    point: Tensor
    before: Tensor
    gradient: Tensor
    value: Tensor
    top: Tensor
    top_gradient: Tensor
    highest: Tensor

    def keep(self, rows: Tensor) -> "Climb":
        """Return these rows only."""
        return Climb(*(field[rows] for field in self))

    def back_to_top(self, chosen: Tensor) -> "Climb":
        """Return the same with the chosen rows, one flag per row, back at their highest point."""
        each = per_row(chosen, self.x)
        return self._replace(
            point=torch.where(each, self.top, self.point),
            gradient=torch.where(each, self.top_gradient, self.gradient),
            value=torch.where(chosen, self.highest, self.value),
        )

    def moved(self, point: Tensor, gradient: Tensor, value: Tensor) -> "Climb":
        """Return the same a step farther."""
        higher = value > self.highest
        each = per_row(higher, self.x)
        return self._replace(
            before=self.point,
            point=point,
            gradient=gradient,
            value=value,
            top=torch.where(each, point, self.top),
            top_gradient=torch.where(each, gradient, self.top_gradient),
            highest=torch.where(higher, value, self.highest),
        )


class Pace(Protocol):
    """How far a step goes, and when that changes."""

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""

    def advance(self, climb: Climb, step: int) -> Tensor:
        """Return the next point of every row."""

    def review(self, climb: Climb, step: int, rose: Tensor) -> Climb:
        """Adapt the pace after a step; `rose` says which rows' objective it raised."""


def per_row(value: Tensor, x: Tensor) -> Tensor:
    """View one value per row so that it goes with every feature of `x`."""
    return value.view(-1, *[1] * (x.ndim - 1))


def climb(
    query: Query,
    first: Climb,
    answer: Answer,
    pace: Pace,
    *,
    steps: int,
    stop_on_success: bool,
    aim: Tensor | None,
) -> tuple[Tensor, Answer]:
    """Climb from where `first` stands; return each row's best point: first a success, then the higher objective.

    With `stop_on_success` all rows of a sample leave the batch soon after one of them has succeeded. When that is
    looked up depends on the number of the step only, so what a sample gets doesn't depend on its batch.
    """
    state, samples = first, int(first.samples.max()) + 1
    best, held = state.point, answer
    rows = torch.arange(len(best), device=best.device)
    all_best, all_held = best, held
    for step in range(1, steps + 1):
        if stop_on_success and step % _CADENCE == 1:
            going = still_open(held.success, state.samples, samples)
            if going is not None:
                all_best, all_held = _put(rows, all_best, all_held, best, held)
                rows, state, best, held = (
                    rows[going],
                    state.keep(going),
                    best[going],
                    Answer(*(value[going] for value in held)),
                )
                aim = None if aim is None else aim[going]
                pace.keep(going)
                if len(rows) == 0:
                    break
                query.about(state.samples, aim)
        point = pace.advance(state, step)
        if step < steps:
            answer, gradient = query.gradient(point)
        else:
            answer, gradient = query.value(point), state.gradient
        rose = answer.objective > state.value
        best, held = better(best, held, point, answer)
        state = pace.review(state.moved(point, gradient, answer.objective), step, rose)
    return _put(rows, all_best, all_held, best, held)


def _put(
    rows: Tensor, all_best: Tensor, all_held: Answer, best: Tensor, held: Answer
) -> tuple[Tensor, Answer]:
    """Write what these rows have found among that of all."""
    return all_best.index_copy(0, rows, best), Answer(
        all_held.objective.index_copy(0, rows, held.objective),
        all_held.success.index_copy(0, rows, held.success),
    )
