"""How attacks ask a model: checked once, counted always, with gradients for the samples only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from sparring.attacks.result import AttackResult
from sparring.errors import InputError, ModelError
from sparring.guard import frozen
from sparring.inputs import (
    Model,
    check_labels,
    check_logits,
    check_model,
    check_range,
    check_samples,
    check_targets,
)
from sparring.objectives import Objective, margin, succeeded
from sparring.threat import ThreatModel


class Answer(NamedTuple):
    """The objective and the success at a point, each of shape (n,)."""

    objective: Tensor
    success: Tensor


class Query:
    """A model as one attack sees it: its goal, and how often it was asked."""

    def __init__(self, model: Model, y: Tensor, targets: Tensor | None, objective: Objective) -> None:
        self.model, self.objective = model, objective
        self.y = _ordinary(y)
        self.targets = None if targets is None else _ordinary(targets)
        self.aim = self.targets
        self.forwards = 0
        self.backwards = 0
        self._whole = self.y, self.targets

    def about(self, rows: Tensor, aim: Tensor | None = None) -> None:
        """Ask from now on about a batch whose rows are these samples: indices, in any order and number.

        `aim`, one class per row, is what the objective climbs toward where success is any class but the label.
        """
        y, targets = self._whole
        self.y = y[rows]
        self.targets = None if targets is None else targets[rows]
        self.aim = self.targets if aim is None else aim

    def runners_up(self, x: Tensor, count: int) -> Tensor:
        """Return the `count` likeliest classes other than the label, shape (n, count): one forward pass."""
        with torch.no_grad():
            logits = self._logits(x)
        others = logits.scatter(1, self.y.unsqueeze(1), float("-inf"))
        return others.topk(min(count, logits.shape[1] - 1), dim=1).indices

    def value(self, x: Tensor) -> Answer:
        """Return the objective and the success at `x`: one forward pass."""
        with torch.no_grad():
            return self._ask(x)

    def gradient(self, x: Tensor) -> tuple[Answer, Tensor]:
        """Return the same and the objective's gradient with respect to `x`: one forward and one backward pass."""
        with torch.enable_grad():
            point = x.detach().clone().requires_grad_(True)
            answer = self._ask(point)
            gradient = self._slope(answer.objective, point)
        return Answer(answer.objective.detach(), answer.success), gradient

    def margin_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the margin and its gradient, whatever the objective is: one forward and one backward pass."""
        margins = Query(self.model, self.y, self.targets, margin)
        answer, gradient = margins.gradient(x)
        self.forwards += margins.forwards
        self.backwards += margins.backwards
        return answer.objective, gradient

    def rivals(self, x: Tensor, count: int) -> tuple[Answer, Tensor, Tensor]:
        """Return the same as `value`, and by how much the `count` best other classes beat the label.

        Also return the gradients of these leads. Leads have shape (n, k), gradients (n, k, ...), where k is
        `count` or the number of other classes, if that is less. One forward and k backward passes.
        """
        with torch.enable_grad():
            point = x.detach().clone().requires_grad_(True)
            logits = self._logits(point)
            answer = self._judge(logits)
            here = self.y.unsqueeze(1)
            others = logits.detach().scatter(1, here, float("-inf"))
            best = others.topk(min(count, logits.shape[1] - 1), dim=1).indices
            leads = logits.gather(1, best) - logits.gather(1, here)
            slopes = [self._slope(lead, point, keep=True) for lead in leads.unbind(1)]
        answer = Answer(answer.objective.detach(), answer.success)
        return answer, leads.detach(), torch.stack(slopes, dim=1)

    def _slope(self, objective: Tensor, point: Tensor, keep: bool = False) -> Tensor:
        gradient = None
        if objective.requires_grad:
            (gradient,) = torch.autograd.grad(objective.sum(), point, retain_graph=keep, allow_unused=True)
        if gradient is None:
            raise ModelError(
                "the objective does not depend on x as far as autograd can see; "
                "remove no_grad(), detach() or .numpy() from the model, or use an attack that needs no gradient"
            )
        self.backwards += 1
        # A step along NaN would lose the sample for good.
        return gradient.nan_to_num()

    def _logits(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        self.forwards += 1
        if self.forwards == 1:
            self._check(logits)
        return logits

    def _ask(self, x: Tensor) -> Answer:
        return self._judge(self._logits(x))

    def _judge(self, logits: Tensor) -> Answer:
        if self.aim is None:
            objective = self.objective(logits, self.y)
        else:
            objective = self.objective(logits, self.y, targets=self.aim)  # type: ignore[call-arg]
        if objective.shape != self.y.shape:
            raise InputError(
                f"objective must give one number per example, shape {tuple(self.y.shape)}, got "
                f"{tuple(objective.shape)}; leave out the mean or sum over the batch (reduction='none')"
            )
        return Answer(objective, succeeded(logits.detach(), self.y, self.targets))

    def _check(self, logits: Tensor) -> None:
        classes = check_logits(logits, len(self.y))
        bad = logits.detach().isnan().any(1)
        if bad.any():
            first = int(bad.nonzero()[0]) % len(self._whole[0])
            raise ModelError(
                f"the model returns NaN for sample {first}; look for a division by zero, a logarithm "
                "of zero or weights that diverged in training"
            )
        check_range(self.y, classes)
        if self.targets is not None:
            check_range(self.targets, classes, "targets")


def _ordinary(labels: Tensor) -> Tensor:
    """Return labels that autograd can keep, also if they were made in inference mode."""
    return labels.clone() if labels.is_inference() else labels


@contextmanager
def attacking(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    targets: Tensor | None,
    objective: Objective,
    *,
    any_distance: bool = False,
) -> Iterator[Query]:
    """Check what an attack was given, and freeze the model while it runs.

    An infinite eps is for attacks that say `any_distance`; the others would take steps of infinite length.
    """
    if not isinstance(threat, ThreatModel):
        raise InputError(
            f"threat must be a ThreatModel, got {type(threat).__name__}; ThreatModel('linf', eps=0.1) is one"
        )
    check_samples(x, threat.bounds)
    check_labels(y, x)
    if targets is not None:
        check_targets(targets, y, x)
    check_model(model, x)
    _ = threat.radii(x) if any_distance else threat.finite_radii(x)
    with torch.inference_mode(False), frozen(model):
        yield Query(model, y, targets, objective)


def report(x_adv: Tensor, x: Tensor, answer: Answer, threat: ThreatModel, query: Query) -> AttackResult:
    """Put together what an attack returns."""
    return AttackResult(
        x_adv=x_adv,
        success=answer.success,
        distance=threat.distance(x_adv, x),
        objective=answer.objective,
        forwards=query.forwards,
        backwards=query.backwards,
    )


def nothing_to_do(x: Tensor, y: Tensor, threat: ThreatModel, query: Query) -> AttackResult:
    """Return the result of an attack on no samples: the model is not asked."""
    answer = Answer(x.new_zeros(0), torch.zeros_like(y, dtype=torch.bool))
    return report(x.detach().clone(), x, answer, threat, query)
