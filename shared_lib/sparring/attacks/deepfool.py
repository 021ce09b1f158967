"""DeepFool."""

import torch
from torch import Tensor

from sparring.attacks.nearest import (
    DUAL,
    Nearest,
    check_norm,
    least_step,
    per_sample,
    to_plane,
)
from sparring.attacks.query import attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.inputs import Model, check_count, check_positive
from sparring.objectives import margin
from sparring.projections import frame, land, norms
from sparring.threat import ThreatModel


def deepfool(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    classes: int = 10,
    targets: Tensor | None = None,
) -> AttackResult:
    """Step to the nearest class boundary of the linearized model, and again from there until the label changes.

    Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep neural networks",
    CVPR 2016, algorithm 2 and its form for other norms, for linf and l2. Considers the `classes` best other
    classes at each point, and goes beyond the boundary by the fraction `overshoot` of the whole way. The paper
    knows no bounds: here a step is the shortest to the boundary within them, and the class with the shortest step
    is chosen. With `targets` it steps to where the target overtakes the best other class.

    It stops at the first success, which is near but seldom the nearest; `fmn` and `ddn` look on. eps is the largest
    distance that counts, and may be infinite. Where nothing was found within it, `success` is false, `x_adv` is x and
    `distance` is infinite. The objective is the margin. `x` has shape (n, ...), in the threat model's units; `y` and
    `targets` are int64 of shape (n,). Costs at most steps + 1 forward passes, and a backward pass per step and class
    considered (with targets: per step). Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    check_count("steps", steps, 0)
    check_count("classes", classes, 1)
    check_positive("overshoot", overshoot)
    with attacking(model, x, y, threat, targets, margin, any_distance=True) as query:
        check_norm("deepfool", threat, ("linf", "l2"), "fmn")
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        nearest, done = Nearest(x, threat), torch.zeros_like(y, dtype=torch.bool)
        box, least = frame(x, 0.0, threat.bounds), least_step(x)
        total, x_adv = torch.zeros_like(box.x), x
        for _ in range(steps):
            if targets is None:
                answer, leads, slopes = query.rivals(x_adv, classes)
            else:
                answer, gradient = query.gradient(x_adv)
                leads, slopes = answer.objective.unsqueeze(1), gradient.unsqueeze(1)
            nearest.offer(x_adv, answer)
            done = done | answer.success
            if bool(done.all()):
                return nearest.result(query)
            here = x_adv.flatten(1).to(box.x.dtype) - box.x
            low, high = box.low - here, box.high - here
            step = _shortest_step(leads, slopes.flatten(2).to(here.dtype), low, high, least, threat.norm)
            total = total + step
            # What is done stays where it is, so that a sample's end doesn't depend on its batch.
            ahead = land(((1 + overshoot) * total).clamp(box.low, box.high), x, threat.bounds)
            x_adv = torch.where(per_sample(done, x), x_adv, ahead)
        nearest.offer(x_adv, query.value(x_adv))
        return nearest.result(query)


def _shortest_step(
    leads: Tensor, slopes: Tensor, low: Tensor, high: Tensor, least: Tensor, norm: str
) -> Tensor:
    """Return the shortest step within its limits that raises one of the leads, shape (n, k), to zero, as rows.

    `slopes` are the leads' gradients, shape (n, k, features). `least` is the length below which no step is worth
    taking.
    """
    each, k = slopes.flatten(0, 1), leads.shape[1]
    least_gap = least.repeat_interleave(k) * norms(each, DUAL[norm]).squeeze(1)
    gap = leads.flatten().abs().to(slopes.dtype).maximum(least_gap)
    steps = to_plane(each, gap, low.repeat_interleave(k, 0), high.repeat_interleave(k, 0), norm)
    length = norms(steps, norm).squeeze(1)
    arrives = (each * steps).sum(1) >= gap * (1 - 1e-6)
    length = torch.where(arrives & (length > 0), length, torch.inf).view(leads.shape)
    best = length.argmin(1)
    return steps.view(slopes.shape)[torch.arange(len(best), device=best.device), best]
