"""A small lesson, as a release and solved, for the grader's tests."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from nbformat import NotebookNode, v4

FIXTURES = Path(__file__).parent / "fixtures"
SOLUTIONS = {
    "double": "def double(x):\n    return 2 * x",
    "largest": "def largest(f, n):\n    return max(f(i) for i in range(n))",
    "half": "def half(x):\n    return x / 2",
}
POINTS = {"double": 4, "largest": 2, "half": 3}


class Doubling:
    """The fixture lesson: three exercises and a question."""

    checks = FIXTURES / "01_doubling" / "checks.py"
    solutions = SOLUTIONS
    points = POINTS

    @property
    def release(self) -> NotebookNode:
        """The notebook as learners get it."""
        cells = [
            v4.new_markdown_cell("# Doubling", id="title"),
            v4.new_code_cell("import torch", id="imports"),
        ]
        for name in SOLUTIONS:
            head = SOLUTIONS[name].splitlines()[0]
            cells.append(self._cell(name, f"{head}\n    raise NotImplementedError()", solution=True))
            check = f"assert {name} is not None"
            cells.append(self._cell(f"check-{name}", check, grade=True, locked=True, points=POINTS[name]))
        cells.append(
            v4.new_code_cell("raise RuntimeError('shown only')", id="shown", metadata={"tags": ["show"]})
        )
        question = v4.new_markdown_cell("YOUR ANSWER HERE", id="why")
        question.metadata["nbgrader"] = self._data("why", grade=True, solution=True, points=5)
        return v4.new_notebook(cells=[*cells, question])

    def solved(self, *names: str, **other: str) -> NotebookNode:
        """The release with these exercises solved, all of them if none is named, and others as given."""
        work = self.release
        for cell in work.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in (names or (() if other else SOLUTIONS)):
                cell.source = SOLUTIONS[name]
            if name in other:
                cell.source = other[name]
        return work

    @staticmethod
    def _data(name, *, grade=False, solution=False, locked=False, points=None):
        data = {"grade_id": name, "grade": grade, "solution": solution, "locked": locked, "task": False}
        return data | {"schema_version": 3} | ({} if points is None else {"points": points})

    def _cell(self, name, source, **data):
        cell = v4.new_code_cell(source, id=name)
        cell.metadata["nbgrader"] = self._data(name, **data)
        return cell


@pytest.fixture(scope="session")
def doubling() -> Doubling:
    return Doubling()


@pytest.fixture(scope="session")
def as_bytes():
    return lambda notebook: json.dumps(deepcopy(notebook)).encode()


@pytest.fixture(scope="session")
def made_course(tmp_path_factory):
    """A course of the smallest whole lesson, made once; tests that write take a copy."""
    from coursework import SOLUTIONS as LESSONS

    from sparring_grader.creation import create

    return create(tmp_path_factory.mktemp("made") / "fall-26", lessons_in=LESSONS)


@pytest.fixture
def course(made_course, tmp_path):
    """A course of the test's own, nothing handed in yet."""
    from coursework import copy_of

    return copy_of(made_course, tmp_path / "fall-26")
