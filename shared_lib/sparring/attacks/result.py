"""What an attack returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class AttackResult:
    """The outcome of an attack on a batch of n samples.

    `x_adv` has the shape of x. `success`, shape (n,), is true where the model's prediction for this very `x_adv`
    is not the label, or is the target (a sample that was misclassified to begin with counts as well). `distance`,
    shape (n,), is measured in the threat model's norm, in float64. `objective`, shape (n,), is the value that was
    climbed. A minimum-norm attack gives x and an infinite distance where it found no success. `forwards` and
    `backwards` count how often the whole batch went through the model, and back.

    `queries`, int64 of shape (n,), is what attacks that only query a model report: about how many points of each
    sample the model was asked. Since samples that are done leave their batch, `forwards` then counts calls. For
    other attacks it is None.
    """

    x_adv: Tensor
    success: Tensor
    distance: Tensor
    objective: Tensor
    forwards: int
    backwards: int
    queries: Tensor | None = None
