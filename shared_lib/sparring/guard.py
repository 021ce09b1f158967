"""Use a model without leaving a trace on it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from sparring.inputs import Model


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Put every submodule in eval mode, and each back into its own mode afterwards, whatever happens."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        if any(modes) and isinstance(model, nn.Module):
            model.eval()
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Put the model in eval mode and its weights out of autograd's sight, and everything back afterwards.

    Warns, in the name of the attack's caller, when a submodule was in train mode.
    """
    weights = list(model.parameters()) if isinstance(model, nn.Module) else []
    if isinstance(model, nn.Module) and any(module.training for module in model.modules()):
        warnings.warn(
            "the model is in train mode; it is attacked in eval mode and put back afterwards. "
            "Call model.eval() first to say that this is what you want",
            UserWarning,
            stacklevel=6,  # past this generator, the attack's context and contextlib, twice
        )
    free = [weight for weight in weights if weight.requires_grad and weight.is_leaf]
    with evaluating(model):
        try:
            for weight in free:
                weight.requires_grad_(False)
            yield
        finally:
            for weight in free:
                weight.requires_grad_(True)
