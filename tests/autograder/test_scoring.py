"""Scoring: marks are earned by functions that do what they should, and by nothing else."""

import pytest
from demo.cheats import CHEATS, cheated
from nbformat import v4

from sparring_grader.errors import LessonError, WallError
from sparring_grader.record import Record
from sparring_grader.scoring import Job, score, untaken
from sparring_grader.wall import Limits, find_bubblewrap

try:
    find_bubblewrap()
except WallError as error:
    pytest.skip(f"no wall can be built here: {error}", allow_module_level=True)

LIMITS = Limits(cell_seconds=4, call_seconds=3, grace_seconds=2, memory=1 << 30, processes=64)


@pytest.fixture(scope="module")
def grade(doubling, as_bytes):
    def run(notebook, **changes):
        data = notebook if isinstance(notebook, bytes) else as_bytes(notebook)
        job = Job("01_doubling", "ada", doubling.release, doubling.checks, b"secret", LIMITS)
        return score(data, Job(**{**job.__dict__, **changes}))

    return run


def earned(graded):
    return {exercise.exercise: exercise.earned for exercise in graded.record.exercises}


def messages(graded, exercise):
    found = next(item for item in graded.record.exercises if item.exercise == exercise)
    return " ".join(check.message or "" for check in found.checks)


def test_the_reference_earns_all_points_and_the_release_none(grade, doubling):
    assert earned(grade(doubling.solved())) == doubling.points
    assert earned(grade(doubling.release)) == {"double": 0, "largest": 0, "half": 0}


def test_the_untouched_release_is_told_that_its_solution_is_not_written_yet(grade, doubling):
    assert "not written yet" in messages(grade(doubling.release), "double")


def test_hidden_points_are_scaled_to_the_cells_points_and_partial_work_earns_its_part(grade, doubling):
    graded = grade(doubling.solved("half", double="def double(x):\n    x *= 2\n    return x"))
    assert earned(graded) == {"double": 2, "largest": 0, "half": 3}
    assert "changed in place" in messages(graded, "double")


def test_a_diagnosed_mistake_gets_its_own_message(grade, doubling):
    assert (
        messages(grade(doubling.solved(double="def double(x):\n    return x ** 2")), "double").strip()
        == "You squared x."
    )


def test_prints_warnings_plots_helpers_and_renamed_variables_cost_nothing(grade, doubling):
    work = doubling.solved()
    work.cells[2].source = (
        "import sys, warnings\nfrom tqdm.auto import tqdm\nwarnings.warn('careful')\nprint('to stderr', file=sys.stderr)\n"
        "def _helper(a: 'torch.Tensor') -> 'torch.Tensor':\n    for _ in tqdm(range(3)):\n        print('working')\n"
        "    return a + a\ndouble = lambda z, /: _helper(z)"
    )
    assert earned(grade(work)) == doubling.points


@pytest.mark.parametrize("how", CHEATS, ids=lambda how: how.name)
def test_a_cheat_gets_the_points_of_the_honest_work_beneath_it_and_no_more(grade, doubling, how):
    work = doubling.solved("double")
    graded = grade(cheated(work, how))
    assert earned(graded) == {"double": 4, "largest": 0, "half": 0}


def test_a_crash_costs_what_it_could_not_show_and_says_so(grade, doubling):
    work = doubling.solved()
    work.cells[4].source += "\nimport os\nos._exit(1)"
    graded = grade(work)
    assert earned(graded) == {"double": 4, "largest": 0, "half": 0}
    assert "ended with code 1" in graded.record.trouble
    assert "ended with code 1" in graded.record.exercises[2].reason


def test_an_endless_loop_in_one_exercise_leaves_the_others_their_marks(grade, doubling):
    work = doubling.solved("double", "half", largest="def largest(f, n):\n    while True:\n        pass")
    graded = grade(work)
    assert earned(graded) == {"double": 4, "largest": 0, "half": 3}
    assert "did not return within 3 s" in messages(graded, "largest")


def test_a_cell_that_only_shows_does_not_run(grade, doubling):
    graded = grade(doubling.solved())
    shown = next(cell for cell in graded.notebook.cells if cell.id == "shown")
    assert shown.outputs == []


def test_a_budget_that_is_overdrawn_is_named(grade, doubling):
    greedy = "def largest(f, n):\n    return max(f(i % 50) for i in range(n + 1))"
    assert "50 times" in messages(grade(doubling.solved(largest=greedy)), "largest")


@pytest.mark.parametrize("answer", ["float('nan')", "float('inf')", "None", "'text'", "[1, 2]", "10 ** 400"])
def test_an_answer_of_any_kind_is_judged_and_not_a_crash(grade, doubling, answer):
    graded = grade(doubling.solved("double", "largest", half=f"def half(x):\n    return {answer}"))
    assert earned(graded) == {"double": 4, "largest": 2, "half": 0}
    assert graded.record.trouble is None


def test_a_file_that_is_no_notebook_gets_zero_with_its_reason(grade):
    graded = grade(b"%PDF-1.7")
    assert graded.record.earned == 0
    assert graded.record.points == 9
    assert "not JSON" in graded.record.trouble
    assert "not JSON" in str(graded.notebook)


def test_an_unread_file_gets_zero_with_the_reason_given(doubling):
    job = Job("01_doubling", "ada", doubling.release, doubling.checks, b"secret")
    assert untaken(job, b"", "no file was handed in").record.trouble == "no file was handed in"


def test_the_same_submission_meets_the_same_inputs_and_another_course_meets_others(grade, doubling):
    first, again = grade(doubling.solved()), grade(doubling.solved())
    assert first.record.seed_id == again.record.seed_id
    assert grade(doubling.solved(), secret=b"other").record.seed_id != first.record.seed_id


def test_questions_say_whether_they_were_answered(grade, doubling):
    work = doubling.solved()
    assert not grade(work).record.questions[0].answered
    work.cells[-1].source = "Because."
    assert grade(work).record.questions[0].answered


def test_markup_in_a_learners_text_is_text_in_the_graded_notebook(grade, doubling):
    """An answer and an added cell can run nothing, whatever shows the notebook; the lesson's own text stays."""
    work = doubling.solved()
    work.cells[-1].source = "Because <img src=x onerror=alert(1)>"
    work.cells.insert(1, v4.new_markdown_cell("<script>alert(2)</script>"))
    texts = [cell.source for cell in grade(work).notebook.cells if cell.cell_type == "markdown"]
    assert "Because < img src=x onerror=alert(1)>" in texts
    assert "< script>alert(2)< /script>" in texts


def test_a_record_comes_back_from_json_equal(grade, doubling):
    record = grade(doubling.solved("double")).record
    assert Record.from_json(record.to_json()) == record


def test_grading_without_a_wall_gives_the_same_marks_and_is_stamped(grade, doubling):
    graded = grade(doubling.solved("double"), unsandboxed=True)
    assert earned(graded) == {"double": 4, "largest": 0, "half": 0}
    assert graded.record.wall == "none"
    assert "without a wall" in graded.notebook.cells[0].source.lower()


def test_checks_that_do_not_run_are_the_instructors_error_and_name_the_file(grade, doubling, tmp_path):
    broken = tmp_path / "checks.py"
    broken.write_text("import nothing_of_this_name\n")
    with pytest.raises(LessonError, match=r"checks\.py.*nothing_of_this_name"):
        grade(doubling.solved(), checks=broken)


def test_a_check_cell_of_another_name_is_scored_by_the_hidden_checks_that_the_publisher_noted_for_it(
    grade, doubling
):
    """JupyterLab's panel leaves the name to the instructor; the visible tests alone must not give the marks."""

    def renamed(notebook):
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") == "check-double":
                cell.metadata.nbgrader.grade_id = "test_double"
        return notebook

    master = renamed(doubling.release)
    master.metadata["sparring"] = {"checks": {"test_double": "double"}}
    work = renamed(doubling.solved("half", double="def double(x):\n    return 3 * x"))
    assert earned(grade(work, master=master)) == {"double": 2, "largest": 0, "half": 3}
