"""Rebuild an untrusted submission on the instructor's master.

Locked cells, tags, metadata, cell types and the order come from the master. From the learner come the source of
solution cells, and the cells that they added, in their place. So a deleted, duplicated, retyped, reordered or
forged cell changes nothing but what the learner may write anyway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode, v4

from sparring_grader.errors import SubmissionError

# How the ids of cells begin that a learner added; no cell of a master has such an id.
ADDED = "added-"
MAX_BYTES = 20 << 20
MAX_CELLS = 1000
MAX_SOURCE = 1 << 20


@dataclass(frozen=True)
class Rebuilt:
    """A submission on its master: the notebook to run, and what was put right on the way."""

    notebook: NotebookNode
    notes: tuple[str, ...]
    answered: frozenset[str]


@dataclass(frozen=True)
class _Cell:
    """What is taken from a submitted cell; everything else in it is dropped."""

    kind: str
    source: str
    id: str
    grade_id: str
    solution: bool


def grade_id(cell: NotebookNode) -> str | None:
    """Return the nbgrader id of a cell, or None where nbgrader does not know it."""
    data = cell.metadata.get("nbgrader")
    return data.get("grade_id") if isinstance(data, dict) else None


def is_solution(cell: NotebookNode) -> bool:
    """Whether a learner writes this cell of the master."""
    data = cell.metadata.get("nbgrader")
    return isinstance(data, dict) and bool(data.get("solution")) and not data.get("locked")


def rebuild(master: NotebookNode, submitted: bytes) -> Rebuilt:
    """Return the submission's work on the master's notebook.

    Raises:
        SubmissionError: the bytes are no notebook, are too large, or are of another lesson.
    """
    cells = _read(submitted)
    mine = {grade_id(cell) for cell in master.cells} - {None}
    if cells and mine and not any(cell.grade_id in mine for cell in cells):
        raise SubmissionError(
            "none of the submitted notebook's cells belong to this lesson; was another lesson's notebook handed in? "
            "Hand in this lesson's own"
        )
    notes: list[str] = []
    places = _places(master)
    answers = _answers(master, cells, places, notes)
    added = _added(master, cells, places)
    notebook = v4.new_notebook(metadata=deepcopy(master.metadata))
    answered: set[str] = set()
    count = 0
    for index in range(-1, len(master.cells)):
        if index >= 0:
            cell = deepcopy(master.cells[index])
            name = grade_id(cell)
            if name is not None and name in answers:
                if answers[name].strip() != cell.source.strip():
                    answered.add(name)
                cell.source = answers[name]
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            notebook.cells.append(cell)
        for extra in added.get(index, []):
            count += 1
            notebook.cells.append(_new(extra, f"{ADDED}{count}"))
    if count:
        notes.append(f"{count} cell{'s' if count > 1 else ''} of your own kept, in place")
    return Rebuilt(notebook, tuple(notes), frozenset(answered))


def _read(submitted: bytes) -> list[_Cell]:
    if len(submitted) > MAX_BYTES:
        raise SubmissionError(
            f"the notebook has {len(submitted) / (1 << 20):.0f} MiB, and the limit is {MAX_BYTES >> 20} MiB; "
            "clear its outputs and hand it in again"
        )
    try:
        data = json.loads(submitted)
    except (ValueError, RecursionError) as error:
        raise SubmissionError(
            f"the file is not JSON ({str(error)[:80]}), so it is no notebook; download the notebook again from "
            "JupyterLab and hand that in"
        ) from None
    if not isinstance(data, dict) or not isinstance(data.get("cells"), list):
        raise SubmissionError(
            "the file is JSON, but no notebook of format 4: it has no list of cells; download the notebook again "
            "from JupyterLab and hand that in"
        )
    if data.get("nbformat") != 4:
        raise SubmissionError(
            f"the notebook is of format {str(data.get('nbformat'))[:20]}, and only 4 is taken; open it in "
            "JupyterLab, save it there, and hand it in again"
        )
    if len(data["cells"]) > MAX_CELLS:
        raise SubmissionError(
            f"the notebook has {len(data['cells'])} cells, and the limit is {MAX_CELLS}; delete what you don't need"
        )
    return list(_cells(data["cells"]))


def _cells(items: list[Any]) -> Iterator[_Cell]:
    for item in items:
        if not isinstance(item, dict) or item.get("cell_type") not in ("code", "markdown", "raw"):
            continue
        source = item.get("source", "")
        if isinstance(source, list):
            source = "".join(part for part in source if isinstance(part, str))
        if not isinstance(source, str):
            source = ""
        if len(source) > MAX_SOURCE:
            raise SubmissionError(
                f"a cell has {len(source)} characters, and the limit is {MAX_SOURCE}; shorten it"
            )
        metadata = item.get("metadata")
        nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        nbgrader = nbgrader if isinstance(nbgrader, dict) else {}
        # What has no UTF-8 form can be neither run nor written.
        yield _Cell(
            item["cell_type"],
            source.encode("utf-8", "replace").decode("utf-8"),
            str(item.get("id", "")),
            str(nbgrader.get("grade_id", "")),
            bool(nbgrader.get("solution")),
        )


def _places(master: NotebookNode) -> dict[str, int]:
    """Return where each id of the master, nbgrader's or the cell's own, stands."""
    places: dict[str, int] = {}
    for index, cell in enumerate(master.cells):
        for name in (grade_id(cell), cell.get("id")):
            if name:
                places.setdefault(name, index)
    return places


def _answers(
    master: NotebookNode, cells: list[_Cell], places: dict[str, int], notes: list[str]
) -> dict[str, str]:
    """Return the learner's source for each solution cell of the master."""
    answers: dict[str, str] = {}
    for place in master.cells:
        name = grade_id(place)
        if not is_solution(place) or name is None:
            continue
        candidates = [cell for cell in cells if cell.grade_id == name]
        if not candidates:
            # JupyterLab's paste and some tools drop metadata; the cell's own id then still names it.
            candidates = [cell for cell in cells if not cell.grade_id and cell.id == place.get("id")]
        if not candidates:
            notes.append(f"the answer cell {name} is missing; the release's empty one stands in its place")
            continue
        if len(candidates) > 1:
            notes.append(
                f"the answer cell {name} stands there {len(candidates)} times; the first that was written counts"
            )
        stub = place.source.strip()
        written = [cell for cell in candidates if cell.source.strip() != stub]
        chosen = (written or candidates)[0]
        if chosen.kind != place.cell_type:
            notes.append(
                f"the answer cell {name} was turned into a {chosen.kind} cell; it counts as {place.cell_type}"
            )
        answers[name] = chosen.source
    return answers


def _added(master: NotebookNode, cells: list[_Cell], places: dict[str, int]) -> dict[int, list[_Cell]]:
    """Return the learner's own cells by the master's cell after which they stand (-1: before the first)."""
    solutions = {grade_id(cell) for cell in master.cells if is_solution(cell)}
    texts = {(cell.cell_type, cell.source.strip()) for cell in master.cells}
    locked = {grade_id(cell) for cell in master.cells} - solutions
    added: dict[int, list[_Cell]] = {}
    here = -1
    for cell in cells:
        name = cell.grade_id if cell.grade_id in places else cell.id
        if name in places:
            here = places[name]
            continue
        if (cell.kind, cell.source.strip()) in texts or cell.grade_id in locked:
            # One of the master's own cells whose ids a tool has changed: the master's stands there already.
            continue
        if cell.source.strip():
            added.setdefault(here, []).append(cell)
    return added


def _new(cell: _Cell, name: str) -> NotebookNode:
    make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}[cell.kind]
    node = make(source=cell.source)
    node.id = name
    return node
