"""From a lesson to its notebooks: the source that instructors keep, and the release that learners get.

The release is made by nbgrader's own preprocessors, in the order of `nbgrader generate_assignment`, so that a
course directory that generates it from the source gets the same cells.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from sparring_grader.errors import LessonError
from sparring_grader.lesson import Cell, Lesson

if TYPE_CHECKING:
    from nbformat import NotebookNode

FORMAT = 1  # of what stands under "sparring" in a notebook's metadata
SCHEMA = 3  # of nbgrader's cell metadata

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def to_source(lesson: Lesson) -> NotebookNode:
    """Return nbgrader's source notebook: with solutions, without outputs, every cell with an id that stays.

    A graded cell's id is its grade id; another cell's is a hash of its type and source, and a counter that
    tells equal cells apart. So an edit changes the id of the edited cell only. The notebook's metadata name
    the lesson and, under `checks`, say which exercise each test cell belongs to.
    """
    from nbformat import v4

    cells = []
    seen: Counter[str] = Counter()
    for cell in lesson.cells:
        identity = cell.name
        if identity is None:
            digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
            identity = f"{digest}-{seen[digest]}"
            seen[digest] += 1
        make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}
        cells.append(make[cell.cell_type](cell.source, id=identity, metadata=_metadata(cell)))
    about = {
        "checks": {exercise.check.name: exercise.name for exercise in lesson.exercises},
        "format": FORMAT,
        "lesson": lesson.id,
    }
    metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}, "sparring": about}
    return v4.new_notebook(cells=cells, metadata=metadata)


def to_release(lesson: Lesson) -> NotebookNode:
    """Return what learners get: solutions and answers replaced by stubs, tests locked, checksums computed.

    Raises:
        LessonError: nbgrader refuses the notebook.
    """
    from nbgrader import preprocessors

    notebook = to_source(lesson)
    resources: dict[str, Any] = {}
    # nbgrader's GenerateAssignment, less what needs a course: headers, generated tests, and the gradebook.
    steps = (
        preprocessors.LockCells,
        preprocessors.ClearSolutions,
        preprocessors.ClearOutput,
        preprocessors.CheckCellMetadata,
        preprocessors.ComputeChecksums,
        preprocessors.ClearHiddenTests,
        preprocessors.ClearMarkScheme,
        preprocessors.ComputeChecksums,
        preprocessors.CheckCellMetadata,
    )
    for step in steps:
        try:
            notebook, resources = step().preprocess(notebook, resources)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise LessonError(f"{lesson.path}: nbgrader's {step.__name__} refuses it: {reason}") from error
    return notebook


def dumps(notebook: NotebookNode) -> str:
    """Return a notebook as JSON, always the same text for the same notebook: sorted keys, one final newline."""
    import nbformat

    text = nbformat.writes(notebook, version=4)
    assert isinstance(text, str)
    return text.rstrip("\n") + "\n"


def _metadata(cell: Cell) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(cell.metadata)
    if cell.tags:
        metadata["tags"] = list(cell.tags)
    if metadata.get("nbgrader") or cell.kind not in ("exercise", "check", "question"):
        return metadata
    graded = cell.kind != "exercise"
    metadata["nbgrader"] = {
        "grade": graded,
        "grade_id": cell.name,
        "locked": cell.kind == "check",
        "schema_version": SCHEMA,
        "solution": cell.kind != "check",
        "task": False,
    }
    if graded:
        metadata["nbgrader"]["points"] = cell.points
    return metadata
