"""The folder of lessons: which there are, and whether a lesson's checks.py and mistakes.py fit its text."""

from __future__ import annotations

import ast
import difflib
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from sparring_grader import lesson as lessons
from sparring_grader.errors import GraderError, LessonError
from sparring_grader.frontmatter import LESSON_ID, Faults
from sparring_grader.lesson import BEGIN, END, Exercise, Lesson

if TYPE_CHECKING:
    from sparring_grader.checks import Alternative, HiddenCheck, Mistake

LEAST_MISTAKES = 2  # for each exercise


def upward(name: str) -> Path:
    """Return the nearest folder called `name` in the current directory or above it.

    Raises:
        GraderError: there is none.
    """
    here = Path.cwd()
    for place in (here, *here.parents):
        if (place / name).is_dir():
            return place / name
    raise GraderError(f"no folder {name}/ in {here} or above it; run this in a clone, or say --{name} DIR")


def find(folder: Path) -> dict[str, Path]:
    """Return the path of every lesson's text by its id, in order.

    Raises:
        LessonError: there is no such folder, or a folder in it is not named like a lesson.
    """
    if not folder.is_dir():
        raise LessonError(f"{folder}: no such folder; name the folder of lessons with --solutions")
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name.startswith((".", "_")):
            continue
        if not LESSON_ID.fullmatch(entry.name):
            remedy = "name it with two digits, then small letters and digits, such as 05_mlp_and_fgsm"
            raise LessonError(f"{entry}: not named like a lesson; {remedy}, or move it elsewhere")
        found[entry.name] = entry / f"{entry.name}.py"
    return found


def choose(wanted: Collection[str], known: Collection[str], where: Path | str) -> list[str]:
    """Return the ids that are meant by `wanted`: each an id, or its two digits; all of `known` if empty.

    Raises:
        LessonError: there is no such lesson; the message says which there are in `where`.
    """
    if not wanted:
        return list(known)
    chosen = []
    for word in wanted:
        matches = [item for item in known if item == word or item.split("_")[0] == word]
        if not matches:
            near = difflib.get_close_matches(word, list(known), n=1)
            remedy = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
            raise LessonError(f"no lesson {word!r} in {where}; {remedy}")
        chosen += [item for item in matches if item not in chosen]
    return sorted(chosen)


def check(lesson: Lesson) -> None:
    """Refuse a lesson whose checks.py or mistakes.py, beside its text, don't fit it.

    Every exercise has hidden checks whose points add up to those of its visible check; at least two mistakes,
    each with a message of its own; the lesson has a right answer of another shape. A lesson without exercises
    needs neither file.

    Raises:
        LessonError: one line for each fault, with file, line and remedy.
    """
    if not lesson.exercises:
        return
    from sparring_grader.checks import load_checks, load_mistakes

    folder = lesson.path.parent
    faults = Faults(folder / "checks.py")
    _check_hidden(lesson, load_checks(faults.path), faults)
    faults.stop()
    faults = Faults(folder / "mistakes.py")
    mistakes, alternatives = load_mistakes(faults.path)
    _check_mistakes(lesson, mistakes, alternatives, faults)
    faults.stop()


def _check_hidden(lesson: Lesson, hidden: dict[str, list[HiddenCheck]], faults: Faults) -> None:
    names = [exercise.name for exercise in lesson.exercises]
    for name, checks in hidden.items():
        if name not in names:
            line = checks[0].function.__code__.co_firstlineno
            faults.add(line, f"@check({name!r}): {_no_exercise(name, names)}")
    for exercise in lesson.exercises:
        checks = hidden.get(exercise.name, [])
        total = sum(item.points for item in checks)
        if not checks:
            faults.add(
                1, f"the exercise {exercise.name!r} has no hidden check, so it can't give marks; write one"
            )
        elif abs(total - exercise.points) > 1e-9:
            parts = ", ".join(f"{item.name} {item.points:g}" for item in checks)
            line = checks[0].function.__code__.co_firstlineno
            message = (
                f"the hidden checks of {exercise.name!r} add up to {total:g} points ({parts}), but line "
            )
            message += f"{exercise.check.line} of {lesson.path.name} says points={exercise.points:g}; make them equal"
            faults.add(line, message)


def _check_mistakes(
    lesson: Lesson, mistakes: list[Mistake], alternatives: list[Alternative], faults: Faults
) -> None:
    text = faults.path.read_text(encoding="utf-8").splitlines()
    exercises = {exercise.name: exercise for exercise in lesson.exercises}
    entries: list[Mistake | Alternative] = [*mistakes, *alternatives]
    for entry in entries:
        line = _line_of(entry.name, text)
        if entry.exercise not in exercises:
            faults.add(line, f"{entry.name!r}: {_no_exercise(entry.exercise, exercises)}")
        elif message := _wrong_source(entry.source, exercises[entry.exercise]):
            faults.add(line, f"{entry.name!r}: {message}")
    for (exercise, name), count in Counter((item.exercise, item.name) for item in entries).items():
        if count > 1:
            faults.add(_line_of(name, text), f"{count} entries for {exercise!r} are called {name!r}; rename")
    for name in exercises:
        own = [item for item in mistakes if item.exercise == name]
        if len(own) < LEAST_MISTAKES:
            remedy = f"add answers that learners really give, at least {LEAST_MISTAKES}"
            faults.add(1, f"the exercise {name!r} has {len(own)} mistakes; {remedy}")
        for item in own:
            if not item.message.strip():
                faults.add(
                    _line_of(item.name, text), f"{item.name!r} has no message; say what feedback must contain"
                )
            elif sum(item.message in other.message for other in own) > 1:
                remedy = "each mistake needs one that tells it apart"
                faults.add(
                    _line_of(item.name, text), f"{item.name!r} shares its message with another; {remedy}"
                )
    if not alternatives:
        faults.add(1, "ALTERNATIVES is empty; add a right answer of another shape than the reference")


def _wrong_source(source: str, exercise: Exercise) -> str | None:
    """Say what keeps `source` from standing in for the exercise's cell, if anything."""
    try:
        missing = _asked_for(exercise.cell.source) - {name for name, _ in _defined(source)}
    except SyntaxError as error:
        return f"its source is not Python (line {error.lineno} of it): {error.msg}"
    if missing:
        return f"its source lacks {', '.join(sorted(missing))}, which the exercise {exercise.name!r} asks for"
    return None


def _asked_for(source: str) -> set[str]:
    """Return what an exercise's cell defines outside its solution: what every answer to it defines."""
    inside, solution = set(), False
    for number, line in enumerate(source.splitlines(), start=1):
        solution = (solution or BEGIN in line) and END not in line
        if solution:
            inside.add(number)
    return {name for name, line in _defined(source) if line not in inside}


def _defined(source: str) -> set[tuple[str, int]]:
    """Return the functions and classes that a cell defines at its top level, with their lines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {(node.name, node.lineno) for node in ast.parse(source).body if isinstance(node, kinds)}


def _no_exercise(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"exercises are: {', '.join(names)}"
    return f"the lesson has no exercise {name!r}; {remedy}"


def _line_of(name: str, text: list[str]) -> int:
    """Return the first line that holds `name` in quotes: where an entry of mistakes.py most likely stands."""
    for number, line in enumerate(text, start=1):
        if f'"{name}"' in line or f"'{name}'" in line:
            return number
    return 1


def load(folder: Path, identity: str) -> Lesson:
    """Return one lesson of the folder, its prerequisites looked up there.

    Raises:
        LessonError: its text is wrong.
    """
    known = find(folder)
    return lessons.read(known[identity], known=known)
