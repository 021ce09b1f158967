"""A lesson's text, read into a `Lesson`: its front matter, its cells, its exercises, everything checked.

The text is a jupytext py:percent script. Marks behind `# %%` say what a cell is (exercise=, check=, question=,
points=, tags=); nbgrader's own metadata, as JupyterLab's "Create Assignment" panel writes it, is taken as it is.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from sparring_grader import frontmatter
from sparring_grader.errors import LessonError
from sparring_grader.frontmatter import Faults

Kind = Literal[
    "front", "markdown", "raw", "code", "parameters", "show", "exercise", "check", "question", "locked"
]

PARAMETERS = {"seed": 0, "profile": "fast"}
MARKS = ("exercise", "check", "question", "points", "tags", "nbgrader", "deletable", "editable")
TAGS: tuple[Literal["parameters"], Literal["show"]] = ("parameters", "show")
BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
_MARK_LINE = re.compile(r"^\s*#\s*%%+(?=\s|$)")
_CELL_TYPE = re.compile(r"^[^=]*?(\[(?:markdown|md|raw)\])")
_NEVER_RUN = re.compile(r"BEGIN HIDDEN TESTS|#+\s*(HASHED\s+)?AUTOTEST")


@dataclass(frozen=True)
class Cell:
    """One cell: what it is, its source, the line of its mark, and what it is called in the gradebook.

    `name` is nbgrader's grade id; `exercise` is the exercise that a check belongs to.
    """

    kind: Kind
    cell_type: Literal["code", "markdown", "raw"]
    source: str
    line: int
    name: str | None = None
    exercise: str | None = None
    points: float | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exercise:
    """An exercise, its visible check cell, and the points that its hidden checks share."""

    name: str
    cell: Cell
    check: Cell
    points: float


@dataclass(frozen=True)
class Lesson:
    """A lesson whose text holds together: ids are unique, every exercise has a check, the points add up."""

    id: str
    title: str
    path: Path
    front: Mapping[str, Any]
    cells: tuple[Cell, ...]
    exercises: tuple[Exercise, ...]
    questions: tuple[Cell, ...]
    points: float


def parse(text: str, path: Path | str, *, known: Collection[str] | None = None) -> Lesson:
    """Return the lesson that `text` holds; nothing is read from `path`, which messages name.

    `known` are the ids of all lessons, so that prerequisites can be looked up; without it they are not.

    Raises:
        LessonError: something is wrong; the message has one line for each fault, with file, line and remedy.
    """
    faults = Faults(Path(path))
    front = frontmatter.read(text, faults)
    if front.values:
        frontmatter.check(front, faults, known)
    cells = [_cell(raw, line, faults) for raw, line in _split(text, faults)]
    cells = _with_checked_exercises(cells, faults)
    _check_names(cells, faults)
    _check_parameters(cells, faults)
    for cell in cells:
        _check_source(cell, faults)
    exercises = _exercises(cells, faults)
    questions = tuple(cell for cell in cells if cell.kind == "question")
    points = sum(exercise.points for exercise in exercises) + sum(cell.points or 0 for cell in questions)
    stated = front.values.get("points")
    if isinstance(stated, (int, float)) and stated != points and not faults.found:
        parts = [f"{item.name} {item.points:g}" for item in exercises]
        parts += [f"{item.name} {item.points:g}" for item in questions]
        faults.add(front.line("points"), f"points: {stated:g}, but the cells add up to {points:g} "
                   f"({', '.join(parts) or 'none has points'}); write points: {points:g}")  # fmt: skip
    faults.stop()
    values = front.values
    return Lesson(
        values["id"], values["title"], Path(path), values, tuple(cells), exercises, questions, points
    )


def read(path: Path, *, known: Collection[str] | None = None) -> Lesson:
    """Return the lesson in the file at `path`.

    Raises:
        LessonError: the file can't be read, or its text is wrong (see `parse`).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LessonError(f"{path}: no such file; a lesson's text is called like its folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LessonError(f"{path}: can't be read as UTF-8 text: {error}") from error
    return parse(text, path, known=known)


def _split(text: str, faults: Faults) -> Iterator[tuple[Any, int]]:
    """Yield jupytext's cells, each with the line of its mark (for a cell without one, of its first line)."""
    import jupytext
    from nbformat import ValidationError

    # jupytext does not say where a cell began, so a second reading has each mark replaced by its line number.
    lines = text.splitlines()
    numbered = [_numbered(line, number) for number, line in enumerate(lines, start=1)]
    try:
        cells = jupytext.reads("\n".join(lines), fmt="py:percent").cells
        places = jupytext.reads("\n".join(numbered), fmt="py:percent").cells
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        reason = str(getattr(error, "message", error)).splitlines()[0]
        faults.add(_offending_line(lines), f"jupytext can't read it: {reason}; is a value of the wrong type?")
        return
    start = 1
    for cell, place in zip(cells, places, strict=True):
        yield cell, place.metadata.get("line", start)
        start = place.metadata.get("line", start) + 1


def _numbered(line: str, number: int) -> str:
    """Return a mark with its line number in place of everything else but the cell's type."""
    if not _MARK_LINE.match(line):
        return line
    kind = _CELL_TYPE.match(line)
    return f"# %% {kind.group(1) if kind else ''} line={number}"


def _offending_line(lines: list[str]) -> int:
    """Return the number of the first mark that jupytext can't turn into a cell."""
    import jupytext
    from nbformat import ValidationError

    for number, line in enumerate(lines, start=1):
        if _MARK_LINE.match(line):
            try:
                jupytext.reads(f"{line}\n0\n", fmt="py:percent")
            except ValidationError:
                return number
    return 1


def _cell(raw: Any, line: int, faults: Faults) -> Cell:
    metadata = {key: value for key, value in raw.metadata.items() if key != "lines_to_next_cell"}
    _check_marks(metadata, line, faults)
    tags = tuple(metadata.get("tags", ()))
    plain = Cell("code", raw.cell_type, raw.source, line, tags=tags)
    if "nbgrader" in metadata:
        return _raw_nbgrader(plain, metadata, faults)
    given = [mark for mark in ("exercise", "check", "question") if mark in metadata]
    if len(given) > 1:
        faults.add(line, f"a cell can't be {' and '.join(given)} at once; split it")
    if given:
        return _graded(plain, given[0], metadata, faults)
    if "points" in metadata:
        faults.add(line, "points= stands on a cell that is neither a check nor a question; remove it")
    if raw.cell_type == "raw":
        return replace(plain, kind="front" if raw.source.startswith("---") else "raw")
    if raw.cell_type == "markdown":
        if tags:
            faults.add(line, f"a text cell has the tag {tags[0]!r}; tags are for code cells, remove it")
        return replace(plain, kind="markdown")
    for tag in TAGS:
        if tag in tags:
            return replace(plain, kind=tag)
    return plain


def _check_marks(metadata: dict[str, Any], line: int, faults: Faults) -> None:
    if "incorrectly_encoded_metadata" in metadata:
        wrong = metadata.pop("incorrectly_encoded_metadata")
        faults.add(line, f'can\'t read the marks {wrong!r}; write them as name="value" or points=4')
    if "title" in metadata:
        wrong = metadata.pop("title")
        faults.add(line, f"text {wrong!r} behind '# %%' means nothing here; put it in the cell")
    for key in metadata.keys() - set(MARKS):
        near = difflib.get_close_matches(key, MARKS, n=1)
        remedy = f"did you mean {near[0]}=?" if near else f"marks are {', '.join(MARKS)}"
        faults.add(line, f"unknown mark {key}=; {remedy}")
    for tag in metadata.get("tags", ()):
        if tag not in TAGS:
            faults.add(line, f"unknown tag {tag!r}; tags are {' and '.join(TAGS)}")


def _graded(plain: Cell, mark: str, metadata: Mapping[str, Any], faults: Faults) -> Cell:
    """Return the cell that exercise=, check= or question= makes."""
    line, name, points = plain.line, metadata[mark], metadata.get("points")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "use a letter, then letters, digits, _ or -, up to 50 in all, in quotes"
        faults.add(line, f"{mark}={name!r} can't be a name; {remedy}")
        name = str(name)
    wanted = "markdown" if mark == "question" else "code"
    if plain.cell_type != wanted:
        hint = "write '# %% [markdown] question=...'" if mark == "question" else "remove [markdown]"
        faults.add(line, f"{mark}={name!r} must stand on a {wanted} cell; {hint}")
    if mark == "exercise":
        if points is not None:
            faults.add(line, "points= belongs on the exercise's check cell; move it there")
        return replace(plain, kind="exercise", name=name)
    if not isinstance(points, (int, float)) or isinstance(points, bool) or not points > 0:
        faults.add(line, f"{mark}={name!r} needs points=, a number above 0; got {points!r}")
        points = 0
    if mark == "check":
        return replace(plain, kind="check", name=f"check-{name}", exercise=name, points=points)
    return replace(plain, kind="question", name=name, points=points)


def _raw_nbgrader(plain: Cell, metadata: Mapping[str, Any], faults: Faults) -> Cell:
    """Return the cell that nbgrader's own metadata describes."""
    from nbformat.v4 import new_code_cell, new_markdown_cell
    from nbgrader.nbgraderformat import MetadataValidator, ValidationError
    from nbgrader.nbgraderformat.common import SchemaMismatchError

    kept = {key: value for key, value in metadata.items() if key in ("nbgrader", "deletable", "editable")}
    make = new_code_cell if plain.cell_type == "code" else new_markdown_cell
    try:
        MetadataValidator().validate_cell(make(plain.source, metadata=kept))
    except (ValidationError, SchemaMismatchError) as error:
        reason = getattr(error, "message", None) or str(error)
        faults.add(
            plain.line, f"nbgrader does not take this metadata: {reason}; set the cell again in its panel"
        )
        return plain
    given = metadata["nbgrader"]
    for mark in ("exercise", "check", "question", "points"):
        if mark in metadata:
            faults.add(plain.line, f"{mark}= and nbgrader's own metadata on one cell; keep one of the two")
    kind: Kind = "locked"
    if (given["grade"] and given["solution"]) or given.get("task"):
        kind = "question"
    elif given["solution"]:
        kind = "exercise"
    elif given["grade"]:
        kind = "check"
    elif not given["locked"]:
        kind = "code" if plain.cell_type == "code" else "markdown"
    return replace(
        plain, kind=kind, name=given.get("grade_id") if kind not in ("code", "markdown") else None,
        points=given.get("points", 0) if kind in ("check", "question") else None, metadata=kept,
    )  # fmt: skip


def _with_checked_exercises(cells: list[Cell], faults: Faults) -> list[Cell]:
    """Give raw nbgrader tests the exercise they check: the one in their name, else the one before them."""
    exercises = {cell.name for cell in cells if cell.kind == "exercise"}
    done: list[Cell] = []
    before = None
    for cell in cells:
        if cell.kind == "exercise":
            before = cell.name
        elif cell.kind == "check" and cell.exercise is None:
            named = re.sub(r"^(check|test)[-_]", "", cell.name or "")
            checked = named if named in exercises else before
            if checked is None:
                faults.add(cell.line, f"the test {cell.name!r} has no exercise before it; move it behind one")
            cell = replace(cell, exercise=checked)
        done.append(cell)
    return done


def _check_names(cells: list[Cell], faults: Faults) -> None:
    first: dict[str, int] = {}
    for cell in cells:
        if cell.name is None:
            continue
        if cell.name in first:
            faults.add(cell.line, f"a second cell is called {cell.name!r}; the first is on line "
                       f"{first[cell.name]}, rename one")  # fmt: skip
        first.setdefault(cell.name, cell.line)


def _check_parameters(cells: list[Cell], faults: Faults) -> None:
    found = [cell for cell in cells if cell.kind == "parameters"]
    example = '# %% tags=["parameters"] with seed = 0 and profile = "fast"'
    if not found:
        faults.add(1, f"no parameters cell, so a run's seed and profile can't be set; add {example}")
        return
    for cell in found[1:]:
        faults.add(cell.line, f"a second parameters cell; keep the one on line {found[0].line}")
    earlier = next((cell for cell in cells if cell.cell_type == "code"), found[0])
    if earlier is not found[0]:
        faults.add(
            found[0].line, f"code on line {earlier.line} runs before the parameters cell; move it down"
        )
    assigned = _constants(found[0].source)
    for name, value in PARAMETERS.items():
        if name not in assigned or assigned[name] != value:
            faults.add(found[0].line, f"the parameters cell must say {name} = {value!r}")


def _constants(source: str) -> dict[str, Any]:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    return {
        node.targets[0].id: node.value.value
        for node in body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }


def _check_source(cell: Cell, faults: Faults) -> None:
    if cell.cell_type == "code":
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            message = f"is not plain Python: {error.msg}; magics and shell commands don't belong in a lesson"
            faults.add(cell.line + (error.lineno or 1), message)
    begun: int | None = None
    regions = 0
    for line, content in enumerate(cell.source.splitlines(), start=cell.line + 1):
        if _NEVER_RUN.search(content):
            faults.add(line, "nbgrader's hidden tests never run here; write them in checks.py")
        if BEGIN in content:
            if begun is not None:
                faults.add(line, f"### {BEGIN} inside the one on line {begun}; add ### {END} before it")
            if cell.kind not in ("exercise", "question"):
                faults.add(line, 'a solution in a cell that is no exercise; mark the cell exercise="name"')
            begun, regions = line, regions + 1
        elif END in content:
            if begun is None:
                faults.add(line, f"### {END} without ### {BEGIN} before it")
            begun = None
    if begun is not None:
        faults.add(begun, f"### {BEGIN} without ### {END} behind it; add it, or the rest of the cell is lost")
    if cell.kind == "exercise" and not regions and not cell.metadata:
        faults.add(
            cell.line, f"the exercise {cell.name!r} has no solution; put it between ### {BEGIN} and ### {END}"
        )


def _exercises(cells: list[Cell], faults: Faults) -> tuple[Exercise, ...]:
    given = {cell.name: cell for cell in cells if cell.kind == "exercise" and cell.name}
    checks: dict[str, Cell] = {}
    for cell in cells:
        if cell.kind != "check" or cell.exercise is None:
            continue
        exercise = given.get(cell.exercise)
        if exercise is None:
            near = difflib.get_close_matches(cell.exercise, list(given), n=1)
            remedy = f"did you mean {near[0]!r}?" if near else "add the exercise, or remove the check"
            faults.add(cell.line, f"check={cell.exercise!r}, but there is no such exercise; {remedy}")
        elif cells.index(cell) < cells.index(exercise):
            faults.add(
                cell.line, f"the check of {cell.exercise!r} stands before its exercise; move it behind"
            )
        elif cell.exercise in checks and cell.metadata:
            message = (
                f"a second test of {cell.exercise!r}; marks need one test cell for each exercise, join them"
            )
            faults.add(cell.line, message)
        checks.setdefault(cell.exercise, cell)
    for name, cell in given.items():
        if name not in checks:
            faults.add(cell.line, f"the exercise {name!r} has no check; add # %% check={name!r} points=...")
    return tuple(
        Exercise(name, cell, checks[name], checks[name].points or 0)
        for name, cell in given.items()
        if name in checks
    )
