"""Rebuilding: locked things come from the master, answers and added cells from the learner, whatever was done."""

import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat import v4

from sparring_grader.errors import SubmissionError
from sparring_grader.submission import MAX_BYTES, rebuild


def cell(kind, source, name=None, **nbgrader):
    make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
    node = make(source)
    node.id = name
    if nbgrader:
        node.metadata["nbgrader"] = {"grade_id": name, "schema_version": 3, **nbgrader}
    return node


def release():
    solution = {"grade": False, "solution": True, "locked": False, "task": False}
    test = {"grade": True, "solution": False, "locked": True, "task": False, "points": 2}
    return v4.new_notebook(
        cells=[
            cell("markdown", "# Title", "title"),
            cell("code", "seed = 0", "parameters"),
            cell("code", "def f(x):\n    raise NotImplementedError()", "f", **solution),
            cell("code", "assert f(1) == 2", "check-f", **test),
            cell("code", "def g(x):\n    raise NotImplementedError()", "g", **solution),
            cell("code", "assert g(1) == 3", "check-g", **test),
        ]
    )


def submitted(notebook) -> bytes:
    return json.dumps(notebook).encode()


def sources(rebuilt):
    return [cell.source for cell in rebuilt.notebook.cells]


def solved():
    work = release()
    work.cells[2].source = "def f(x):\n    return x + 1"
    return work


def test_the_untouched_release_comes_back_as_the_master_with_nothing_answered():
    rebuilt = rebuild(release(), submitted(release()))
    assert sources(rebuilt) == [cell.source for cell in release().cells]
    assert not rebuilt.answered
    assert rebuilt.notes == ()


def test_answers_are_taken_and_named():
    rebuilt = rebuild(release(), submitted(solved()))
    assert rebuilt.notebook.cells[2].source == "def f(x):\n    return x + 1"
    assert rebuilt.answered == {"f"}


def test_edited_locked_cells_and_parameters_are_the_masters_again():
    work = solved()
    work.cells[3].source = "assert True"
    work.cells[1].source = "seed = 99"
    rebuilt = rebuild(release(), submitted(work))
    assert sources(rebuilt)[3] == "assert f(1) == 2"
    assert sources(rebuilt)[1] == "seed = 0"


def test_tags_and_metadata_of_the_submission_are_dropped():
    work = solved()
    for place in work.cells:
        place.metadata["tags"] = ["skip-execution", "show"]
    work.metadata["kernelspec"] = {"name": "evil", "display_name": "evil"}
    rebuilt = rebuild(release(), submitted(work))
    assert all("tags" not in place.metadata for place in rebuilt.notebook.cells)
    assert "kernelspec" not in rebuilt.notebook.metadata


def test_deleted_cells_stand_there_again():
    work = solved()
    del work.cells[3:]
    rebuilt = rebuild(release(), submitted(work))
    assert len(rebuilt.notebook.cells) == 6
    assert any("g is missing" in note for note in rebuilt.notes)


def test_a_duplicated_answer_counts_once_and_the_written_one_wins_over_the_empty():
    work = solved()
    work.cells.insert(2, deepcopy(release().cells[2]))
    rebuilt = rebuild(release(), submitted(work))
    assert sources(rebuilt).count("def f(x):\n    return x + 1") == 1
    assert len(rebuilt.notebook.cells) == 6


def test_added_cells_stay_behind_the_cell_they_were_added_to_without_their_metadata():
    work = solved()
    extra = v4.new_code_cell(
        "helper = 1", metadata={"tags": ["show"], "nbgrader": {"points": 99, "grade": True}}
    )
    work.cells.insert(2, extra)
    rebuilt = rebuild(release(), submitted(work))
    assert sources(rebuilt)[2] == "helper = 1"
    assert rebuilt.notebook.cells[2].metadata == {}


def test_a_cell_that_claims_to_be_a_check_is_dropped():
    work = solved()
    fake = deepcopy(work.cells[3])
    fake.source, fake.id = "print('full marks')", "other"
    work.cells.append(fake)
    assert "print('full marks')" not in sources(rebuild(release(), submitted(work)))


def test_a_retyped_answer_cell_is_a_code_cell_again():
    work = solved()
    work.cells[2].cell_type = "markdown"
    rebuilt = rebuild(release(), submitted(work))
    assert rebuilt.notebook.cells[2].cell_type == "code"
    assert any("markdown" in note for note in rebuilt.notes)


def test_ids_that_a_tool_regenerated_do_not_double_the_masters_cells():
    work = solved()
    for number, place in enumerate(work.cells):
        place.id = f"new{number}"
    assert len(rebuild(release(), submitted(work)).notebook.cells) == 6


def test_metadata_that_a_tool_dropped_leaves_the_answer_named_by_its_cell_id():
    work = solved()
    work.cells[2].metadata = {}
    assert rebuild(release(), submitted(work)).answered == {"f"}


@given(st.permutations(range(6)), st.data())
@settings(max_examples=50, deadline=None)
def test_any_reordering_and_duplication_gives_the_masters_order(order, data):
    work = solved()
    cells = [deepcopy(work.cells[index]) for index in order]
    for index in data.draw(st.lists(st.integers(0, 5), max_size=4)):
        cells.append(deepcopy(work.cells[index]))
    work.cells = cells
    expected = [cell.source for cell in solved().cells]
    assert sources(rebuild(release(), submitted(work))) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"PK\x03\x04", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of cells; download the notebook again"),
        (b'{"cells": 3}', "no list of cells"),
        (b'{"cells": [], "nbformat": 3}', "format 3, and only 4 is taken; open it in JupyterLab"),
        (b'{"worksheets": []}', "no list of cells"),
        (b" " * (MAX_BYTES + 1), "limit is 20 MiB"),
        (
            json.dumps({"cells": [{}] * 2000, "nbformat": 4}).encode(),
            "2000 cells, and the limit is 1000; delete",
        ),
        (
            json.dumps(v4.new_notebook(cells=[v4.new_code_cell("1")])).encode(),
            "another lesson.*Hand in this lesson's own",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_submission_of_this_lesson_is_refused_with_its_reason(data, message):
    with pytest.raises(SubmissionError, match=message):
        rebuild(release(), data)


def test_cells_that_are_no_cells_are_left_out():
    work = json.loads(submitted(solved()))
    work["cells"] += [
        None,
        3,
        {"cell_type": "evil"},
        {"cell_type": "code", "source": {"a": 1}},
        {"cell_type": "code"},
    ]
    work["cells"][2]["source"] = ["def f(x):\n", 3, "    return x + 1"]
    rebuilt = rebuild(release(), json.dumps(work).encode())
    assert sources(rebuilt)[2] == "def f(x):\n    return x + 1"
    assert len(rebuilt.notebook.cells) == 6
