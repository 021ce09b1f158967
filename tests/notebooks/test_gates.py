"""The gates themselves: on the smallest whole lesson, and on the same lesson with one thing wrong, they tell."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import gates
import pytest
from nbformat import v4

from sparring_grader import lesson as lessons
from sparring_grader.errors import WallError
from sparring_grader.publish import dumps, to_release, to_source
from sparring_grader.wall import find_bubblewrap

FIXTURE = Path(__file__).parents[1] / "autograder/fixtures/solutions/01_doubling_up"
TEXT = (FIXTURE / "01_doubling_up.py").read_text(encoding="utf-8")
CHECKS = FIXTURE / "checks.py"

try:
    find_bubblewrap()
    OFFLINE = None
except WallError as error:
    OFFLINE = str(error)
needs_namespaces = pytest.mark.skipif(
    OFFLINE is not None, reason=f"no network can be cut off here: {OFFLINE}"
)


def parse(text=TEXT):
    return lessons.parse(text, "01_doubling_up.py")


def with_output(kind, data, metadata=None):
    """A notebook with one cell that shows `data`."""
    output = v4.new_output("execute_result", data={kind: data}, metadata=metadata or {}, execution_count=1)
    return v4.new_notebook(cells=[v4.new_code_cell("it", outputs=[output], id="shows")])


@needs_namespaces
def test_the_network_is_cut_off(tmp_path):
    """In the run there is no interface but loopback, which the kernel needs to be talked to."""
    notebook = to_source(parse())
    notebook.cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    notebook.cells.append(v4.new_code_cell("import socket\n[name for _, name in socket.if_nameindex()]"))
    run = gates.run_offline(notebook, tmp_path, seed=1)
    assert run.code == 0, run.message
    assert run.notebook.cells[-1].outputs[0].data["text/plain"] == "['lo']"


@needs_namespaces
def test_the_smallest_lesson_runs_validates_and_its_release_stops_at_its_check(tmp_path):
    """All gates that need a run, on one lesson that is known to pass."""
    reference = gates.run_offline(to_source(parse()), tmp_path / "reference", seed=0, profile="fast")
    assert reference.code == 0, reference.message
    assert gates.stderr(reference.notebook) == []
    assert gates.values_of_checks(reference.notebook) == []
    assert gates.validation(reference.path) == []
    release = gates.run_offline(to_release(parse()), tmp_path / "release", seed=0, profile="fast")
    assert release.message.startswith("NotImplementedError")
    assert any("NotImplementedError" in found for found in gates.validation(release.path))


@needs_namespaces
def test_an_unknown_parameter_is_a_failure(tmp_path):
    """papermill alone would warn and run the notebook as if nothing had been asked for."""
    run = gates.run_offline(to_source(parse()), tmp_path, sead=1)
    assert run.code != 0
    assert run.message == "unknown parameter sead; the notebook's parameters are seed, profile"
    assert not run.path.exists()


@needs_namespaces
def test_a_missing_parameters_cell_is_a_failure(tmp_path):
    """Without it papermill would put the values on top, where the notebook overwrites them."""
    notebook = to_source(parse())
    for cell in notebook.cells:
        cell.metadata.pop("tags", None)
    run = gates.run_offline(notebook, tmp_path, seed=0)
    assert run.code != 0
    assert "no cell tagged 'parameters'" in run.message


def test_nbgraders_own_command_passes_the_reference_and_fails_the_release(tmp_path):
    """`nbgrader validate`, as an instructor types it and as JupyterLab's button runs it."""
    for name, notebook in (("reference", to_source(parse())), ("release", to_release(parse()))):
        (tmp_path / f"{name}.ipynb").write_text(dumps(notebook), encoding="utf-8")
    command = [Path(sysconfig.get_path("scripts")) / "nbgrader", "validate"]
    said = {
        name: subprocess.run(
            [sys.executable, *command, f"{name}.ipynb"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for name in ("reference", "release")
    }
    assert "Success! Your notebook passes all the tests." in said["reference"]
    # The check that raises, and the question without an answer.
    assert "VALIDATION FAILED ON 2 CELL" in said["release"]


def test_a_leaked_line_is_found():
    """A line of the solution, of the reference answer or of a hidden check, anywhere in the release."""
    assert gates.leaks(parse(), to_release(parse()), CHECKS) == []
    for line, place in (
        ("secret_of_doubling = x + x", "the solution of double"),
        ("Because the caller still holds it.", "the answer to why-alone"),
        ("x = torch.randn(4, generator=learner.generator)", "the hidden check leaves_x_alone"),
    ):
        leaking = TEXT.replace("# # Doubling up\n", f"# # Doubling up\n#\n# {line}\n", 1)
        found = gates.leaks(parse(leaking), to_release(parse(leaking)), CHECKS)
        assert len(found) == 1, found
        assert found[0].startswith(place)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("# ## Exercises", "# #### Exercises", "'Exercises' is of level 4, below level 1"),
        ("# ## Exercises", "# # Exercises", "2 headings of level 1"),
        ("# # Doubling up\n", "# Doubling up\n", "0 headings of level 1"),
    ],
)
def test_headings_out_of_order_are_found(old, new, says):
    """Also where a comment in a fenced block looks like a heading, only headings count."""
    fenced = TEXT.replace("# ## Exercises", "# ```\n# # no heading\n# ```\n#\n# ## Exercises")
    assert gates.headings(to_release(parse(fenced))) == []
    assert any(says in found for found in gates.headings(to_release(parse(TEXT.replace(old, new, 1)))))


@pytest.mark.parametrize(
    ("notebook", "wrong"),
    [
        (with_output("image/png", "aGk="), True),
        (with_output("image/png", "aGk=", {"image/png": {"alt": " "}}), True),
        (with_output("image/png", "aGk=", {"image/png": {"alt": "A line that rises."}}), False),
        (with_output("text/html", '<img src="a.png">'), True),
        (with_output("text/html", '<img src="a.png" alt="A line.">'), False),
        (v4.new_notebook(cells=[v4.new_markdown_cell("![](a.png)")]), True),
        (v4.new_notebook(cells=[v4.new_markdown_cell("![A line.](a.png)")]), False),
        (v4.new_notebook(cells=[v4.new_markdown_cell("<img src='a.png'/>")]), True),
    ],
)
def test_a_picture_without_alt_text_is_found(notebook, wrong):
    """In outputs of every kind, and in text."""
    assert bool(gates.images_without_alt(notebook)) == wrong


def test_what_goes_to_stderr_is_found():
    output = v4.new_output("stream", name="stderr", text="UserWarning: careful")
    notebook = v4.new_notebook(cells=[v4.new_code_cell("it", outputs=[output], id="warns")])
    assert gates.stderr(notebook) == ["warns: UserWarning: careful"]


def test_a_check_that_ends_in_a_value_is_found():
    """nbgrader would take the value for the marks, so a check must end in an assertion."""
    notebook = with_output("text/plain", "3")
    assert gates.values_of_checks(notebook) == []
    notebook.cells[0].metadata["nbgrader"] = {"grade": True}
    assert gates.values_of_checks(notebook) == ["shows shows 3"]


def test_what_is_missing_of_the_anatomy_is_found():
    """The smallest lesson lacks what a real one has, and no more; each part that goes missing is told."""
    assert gates.anatomy(parse()) == [
        "1 exercises instead of 4 or 5",
        "quiz items [] instead of 1 to 4",
        "no checklist 'I can now ...'",
        "no section 'Predict first'",
    ]
    for old, new, says in (
        ("Exercise 1: double", "double", "has no heading"),
        ("*Difficulty: ●○○", "*Easy", "does not say '*Difficulty"),
        ("Hint 2: a step", "A step", "hints ['1', '3']"),
        (
            "# ## Exercises",
            "# ## Theory\n#\n" + "# word\n" * 601 + "#\n# ## Exercises",
            "601 words of theory",
        ),
    ):
        assert any(says in found for found in gates.anatomy(parse(TEXT.replace(old, new, 1)))), says


def test_every_lesson_in_the_folder_is_tested(tmp_path):
    """A new lesson falls under the gates by being there."""
    shutil.copytree(FIXTURE, tmp_path / "01_doubling_up")
    shutil.copytree(FIXTURE, tmp_path / "02_another")
    assert list(gates.solutions.find(tmp_path)) == ["01_doubling_up", "02_another"]
