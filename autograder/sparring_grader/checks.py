"""What a lesson's checks.py is written with: hidden checks that call a learner's functions across the wall.

A hidden check is a plain function that takes a `Learner`, calls the learner's functions through it with fresh
inputs, and states properties of what comes back with `require`, `expect_tensor` and `expect_close`. It runs
in the grader's own process; expected values never exist in the learner's.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from sparring_grader.errors import LessonError
from sparring_grader.wire import Handle, ModelState, Oracle

__all__ = [
    "Alternative",
    "CheckFailed",
    "Handle",
    "HiddenCheck",
    "Learner",
    "Mistake",
    "ModelState",
    "Observed",
    "Oracle",
    "check",
    "expect_close",
    "expect_tensor",
    "load_checks",
    "load_mistakes",
    "require",
]


class CheckFailed(Exception):
    """A property did not hold; the message is what the learner reads."""


@dataclass(frozen=True)
class Observed:
    """What a call returned, and its arguments as they are after it."""

    value: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Caller(Protocol):
    """The way across the wall that a `Learner` uses; a session behind the wall is one."""

    def call(
        self,
        target: str | Handle,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        *,
        method: str | None = None,
        observe: bool = False,
    ) -> Observed:
        """Call a learner's function; raises CheckFailed when it raises, hangs or returns what can't cross."""
        ...

    def get(self, name: str) -> Any:
        """Read a variable of the learner's notebook; raises CheckFailed when it is not there."""
        ...


class Learner:
    """A learner's notebook as hidden checks see it.

    `generator` is a fresh `torch.Generator`, seeded for this check, this submission and this course from the
    course's secret: the same submission meets the same inputs again, and nobody can know them beforehand.
    """

    def __init__(self, caller: Caller, generator: torch.Generator) -> None:
        self._caller = caller
        self.generator = generator

    def call(self, target: str | Handle, *args: Any, **kwargs: Any) -> Any:
        """Call the learner's function, by its name or a `Handle` that came back, and return its result.

        Raises:
            CheckFailed: the function is missing, raised, did not return in time, or returned what can't cross.
        """
        return self._caller.call(target, args, kwargs).value

    def observe(self, target: str | Handle, *args: Any, **kwargs: Any) -> Observed:
        """Call as `call` does, and also bring back the arguments as they are afterwards.

        A tensor comes back as a tensor, a white-box model as a `ModelState`, anything else as None.
        """
        return self._caller.call(target, args, kwargs, observe=True)

    def call_method(self, handle: Handle, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a learner's object that stayed behind the wall."""
        return self._caller.call(handle, args, kwargs, method=method).value

    def get(self, name: str) -> Any:
        """Return the value of a variable of the learner's notebook."""
        return self._caller.get(name)


CheckFunction = Callable[[Learner], None]
F = TypeVar("F", bound=CheckFunction)


@dataclass(frozen=True)
class HiddenCheck:
    """One hidden check: the exercise it belongs to, its points, and the title that feedback shows."""

    exercise: str
    points: float
    name: str
    title: str
    function: CheckFunction


def check(exercise: str, *, points: float) -> Callable[[F], F]:
    """Mark a function of checks.py as a hidden check of `exercise`; its docstring's first line is its title."""

    def mark(function: F) -> F:
        lines = (function.__doc__ or "").strip().splitlines()
        if not lines:
            raise LessonError(
                f"the hidden check {function.__name__} has no docstring; its first line is the title that "
                "learners read in their feedback"
            )
        if not points > 0:
            raise LessonError(
                f"the hidden check {function.__name__} has {points} points; give it more than 0"
            )
        function.__hidden_check__ = HiddenCheck(  # type: ignore[attr-defined]
            exercise, float(points), function.__name__, lines[0].rstrip("."), function
        )
        return function

    return mark


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners really give, and a part of the message that their feedback must contain."""

    exercise: str
    name: str
    source: str
    message: str


@dataclass(frozen=True)
class Alternative:
    """A right answer of another shape than the reference; it must earn all points."""

    exercise: str
    name: str
    source: str


def require(condition: object, message: str) -> None:
    """Fail the check with `message` unless the condition holds; a tensor of one element counts as its value."""
    if not bool(condition):
        raise CheckFailed(message)


def expect_tensor(
    value: Any,
    *,
    shape: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    name: str = "the result",
) -> torch.Tensor:
    """Return `value` if it is a tensor of this shape and dtype; fail the check with what it is instead.

    A dtype of None takes any floating dtype.
    """
    if not isinstance(value, torch.Tensor):
        raise CheckFailed(
            f"{name} should be a tensor, got {_kind(value)}. Did the function return the right thing?"
        )
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise CheckFailed(f"wrong shape of {name}: got {tuple(value.shape)}, expected {tuple(shape)}.")
    if dtype is not None and value.dtype != dtype:
        raise CheckFailed(f"wrong dtype of {name}: got {value.dtype}, expected {dtype}.")
    if dtype is None and not value.is_floating_point():
        raise CheckFailed(f"wrong dtype of {name}: got {value.dtype}, expected floating point numbers.")
    return value


def expect_close(
    got: Any,
    expected: Any,
    message: str,
    *,
    atol: float = 1e-5,
    rtol: float = 1e-4,
    diagnoses: Sequence[tuple[Any, str]] = (),
    name: str = "the result",
) -> None:
    """Fail the check unless `got` is close to `expected`; a diagnosed wrong value shows its own message.

    `got` and `expected` are tensors of one shape, or numbers. Each of `diagnoses` is a wrong value, of which
    one knows how a learner gets it, and the message for it. Values that are not finite never pass as close.
    """
    wanted = torch.as_tensor(expected)
    if not isinstance(got, (torch.Tensor, int, float)) or isinstance(got, bool):
        raise CheckFailed(
            f"{name} should be a {'number' if wanted.ndim == 0 else 'tensor'}, got {_kind(got)}."
        )
    value = torch.as_tensor(got)
    if value.shape != wanted.shape:
        raise CheckFailed(f"wrong shape of {name}: got {tuple(value.shape)}, expected {tuple(wanted.shape)}.")
    if _close(value, wanted, atol, rtol):
        return
    for wrong, diagnosis in diagnoses:
        candidate = torch.as_tensor(wrong)
        if candidate.shape == value.shape and _close(value, candidate, atol, rtol):
            raise CheckFailed(diagnosis)
    if not bool(torch.isfinite(value.double()).all()):
        raise CheckFailed(f"{message} (Some values are NaN or infinite.)")
    raise CheckFailed(message)


def load_checks(path: Path) -> dict[str, list[HiddenCheck]]:
    """Return a lesson's hidden checks by exercise, in the order in which they are written.

    Raises:
        LessonError: the file is missing, does not run, or holds no check.
    """
    module = _load(path)
    found: dict[str, list[HiddenCheck]] = {}
    for value in vars(module).values():
        hidden = getattr(value, "__hidden_check__", None)
        if isinstance(hidden, HiddenCheck):
            found.setdefault(hidden.exercise, []).append(hidden)
    if not found:
        raise LessonError(f"{path}: no hidden check; mark functions with @check('exercise', points=...)")
    return found


def load_mistakes(path: Path) -> tuple[list[Mistake], list[Alternative]]:
    """Return a lesson's mistakes and alternatives; raises LessonError if the file does not define both."""
    module = _load(path)
    mistakes, alternatives = getattr(module, "MISTAKES", None), getattr(module, "ALTERNATIVES", None)
    if not isinstance(mistakes, list) or not all(isinstance(item, Mistake) for item in mistakes):
        raise LessonError(f"{path}: MISTAKES must be a list of Mistake(...)")
    if not isinstance(alternatives, list) or not all(isinstance(item, Alternative) for item in alternatives):
        raise LessonError(f"{path}: ALTERNATIVES must be a list of Alternative(...)")
    return mistakes, alternatives


def _load(path: Path) -> Any:
    if not path.is_file():
        raise LessonError(f"{path}: no such file; every lesson has one beside its text")
    name = f"_sparring_lesson_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling of local classes look their module up by name while it runs.
    sys.modules[name] = module
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except LessonError as error:
        raise LessonError(f"{path}: {error}") from None
    except Exception as error:
        raise LessonError(f"{path}: does not run: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
        sys.modules.pop(name, None)
    return module


def _close(value: torch.Tensor, wanted: torch.Tensor, atol: float, rtol: float) -> bool:
    return torch.allclose(value.double(), wanted.double(), atol=atol, rtol=rtol)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, Handle):
        return f"an object of type {value.type}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    return f"a {type(value).__name__}"
