"""Every lesson in solutions/ passes the gates of lessons.md; a new lesson falls under them by being there."""

import functools
from types import SimpleNamespace

import gates
import pytest
from click.testing import CliRunner

from sparring_grader import solutions
from sparring_grader.commands.publish import command
from sparring_grader.errors import WallError
from sparring_grader.publish import to_release, to_source
from sparring_grader.wall import find_bubblewrap

try:
    find_bubblewrap()
    OFFLINE = None
except WallError as error:
    OFFLINE = str(error)

every_lesson = pytest.mark.parametrize("identity", gates.LESSONS)
needs_namespaces = pytest.mark.skipif(
    OFFLINE is not None, reason=f"no network can be cut off here: {OFFLINE}"
)


@functools.cache
def lesson_of(identity):
    return solutions.load(gates.SOLUTIONS, identity)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each lesson's reference and release, run once, when first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    @functools.cache
    def run(identity, kind):
        make = {"reference": to_source, "release": to_release}[kind]
        return gates.run_offline(make(lesson_of(identity)), folder / identity / kind, seed=0, profile="fast")

    return SimpleNamespace(
        reference=lambda identity: run(identity, "reference"),
        release=lambda identity: run(identity, "release"),
    )


def test_there_are_lessons():
    """The parametrized tests below can't pass for want of lessons."""
    assert {"01_tensors_and_autograd", "05_mlp_and_fgsm"} <= set(gates.LESSONS)


def test_curriculum_is_what_the_lessons_make():
    """`sparring publish --check` finds nothing to mend, in the notebooks and in checks and mistakes."""
    words = [
        "--check",
        "--solutions",
        str(gates.SOLUTIONS),
        "--curriculum",
        str(gates.REPOSITORY / "curriculum"),
    ]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output[-3000:] or result.exception


@every_lesson
def test_the_front_matter_ids_points_checks_and_mistakes_fit(identity):
    """A lesson that does not hold together is refused with a LessonError."""
    solutions.check(lesson_of(identity))


@every_lesson
def test_the_anatomy_is_whole(identity):
    """Exercises with heads and three folded hints, one question for a person, four quiz items, a checklist."""
    assert gates.anatomy(lesson_of(identity)) == []


@every_lesson
def test_headings_are_in_order(identity):
    """A screen reader's list of headings is the lesson's table of contents."""
    assert gates.headings(to_release(lesson_of(identity))) == []


@every_lesson
def test_no_line_of_a_solution_or_hidden_check_is_in_the_release(identity):
    """Looking at the release gives nothing away."""
    lesson = lesson_of(identity)
    assert gates.leaks(lesson, to_release(lesson), lesson.path.with_name("checks.py")) == []


@needs_namespaces
@every_lesson
def test_papermill_runs_the_reference_without_a_network(identity, runs):
    """Every cell runs, the visible checks hold, and no cell writes to stderr."""
    run = runs.reference(identity)
    assert run.code == 0, run.message
    assert gates.stderr(run.notebook) == []


@needs_namespaces
@every_lesson
def test_the_reference_runs_in_its_time(identity, runs):
    """The stated seconds are about right, with room for a slow machine and for imports; a minute is the limit."""
    stated = lesson_of(identity).front["seconds"]
    used = runs.reference(identity).seconds
    assert used > 0
    assert used <= min(60, 3 * stated + 10)


@needs_namespaces
@every_lesson
def test_every_picture_has_alt_text(identity, runs):
    """Nobody is shut out of what a plot shows; and there are plots."""
    notebook = runs.reference(identity).notebook
    assert gates.images_without_alt(notebook) == []
    shown = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any(kind.startswith("image/") for output in shown for kind in output.data)


@needs_namespaces
@every_lesson
def test_nbgraders_validation_passes_on_the_reference_and_fails_on_the_release(identity, runs):
    """So JupyterLab's Validate button tells a learner the truth."""
    reference = runs.reference(identity)
    assert gates.values_of_checks(reference.notebook) == []
    assert gates.validation(reference.path) == []
    found = gates.validation(runs.release(identity).path)
    assert any("NotImplementedError" in failed for failed in found), found


@needs_namespaces
@every_lesson
def test_the_release_stops_at_its_first_exercise_and_nowhere_before(identity, runs):
    """The first check raises the stub's NotImplementedError; all cells before it ran."""
    run = runs.release(identity)
    assert run.message.startswith("NotImplementedError")
    raised = [
        cell.metadata.nbgrader.grade_id
        for cell in run.notebook.cells
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    ]
    assert raised == [lesson_of(identity).exercises[0].check.name]
