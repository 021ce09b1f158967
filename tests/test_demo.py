"""The demo: it gives every submission what it must get, says so when it does not, and nbgrader agrees."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from demo.classroom import HandedIn, wrong
from nbgrader.api import Gradebook

from sparring_grader.errors import WallError
from sparring_grader.record import CheckResult, ExerciseScore, Record
from sparring_grader.wall import find_bubblewrap

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
LESSONS = ("01_tensors_and_autograd", "05_mlp_and_fgsm")
ENVIRONMENT = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The demo's course, after the demo has run in it and found nothing wrong."""
    try:
        find_bubblewrap()
    except WallError as error:
        pytest.skip(f"no wall can be built here: {error}")
    place = tmp_path_factory.mktemp("demo") / "course"
    command = [sys.executable, "-m", "demo", "--keep", str(place)]
    run = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    assert "submissions got what they must" in run.stdout
    return place


def marks(course):
    """Return every score of the gradebook: (lesson, student, cell) -> (automatic, needs a person)."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            (lesson, submission.student.id, grade.name): (grade.auto_score, grade.needs_manual_grade)
            for lesson in LESSONS
            for submission in book.assignment_submissions(lesson)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


@pytest.mark.slow
def test_the_demo_grades_a_class_of_all_kinds_and_leaves_report_and_feedback(course):
    """At least 20 submissions, the page and each learner's feedback are there, and the report knows every learner."""
    records = sorted((course / ".sparring" / "records").glob("*/*.json"))
    assert len(records) >= 20
    report = (course / "report.html").read_text()
    for path in records:
        record = Record.from_json(path.read_text())
        assert (course / "feedback" / record.student / record.lesson / f"{record.lesson}.html").is_file()
        assert record.student in report
        assert record.wall.startswith("bubblewrap") or record.wall == "not run"


@pytest.mark.slow
def test_nbgrader_autograde_gives_the_demos_class_the_same_marks(course, tmp_path):
    """A copy of the course whose scores are forgotten, graded by nbgrader's own command, has an equal gradebook."""
    before = marks(course)
    assert len(before) >= 20 * 5
    copy = tmp_path / "copy"
    shutil.copytree(course, copy, symlinks=True)
    for made in ("autograded", "feedback", ".sparring/records"):
        shutil.rmtree(copy / made)
    with Gradebook(f"sqlite:///{copy / 'gradebook.db'}") as book:
        for lesson in LESSONS:
            for submission in list(book.assignment_submissions(lesson)):
                book.remove_submission(lesson, submission.student.id)
    assert not marks(copy)
    # Two processes at once, as two instructors would; the gradebook takes them one after another.
    running = [
        subprocess.Popen(
            [SCRIPTS / "nbgrader", "autograde", lesson], cwd=copy, env=ENVIRONMENT, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for lesson in LESSONS
    ]  # fmt: skip
    for process in running:
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, said[-4000:]
    assert marks(copy) == before


def handed_in_and_graded():
    """A submission that must earn 2 of 2 in one exercise and lose in another, and a record in which it did."""
    handed = HandedIn("ada", "01_x", "what", b"{}", exact={"good": 2.0}, loses={"bad": "squared"})
    checks = (CheckResult("c", "title", 0.0, 3.0, "You squared x."),)
    exercises = (
        ExerciseScore("good", "check-good", 2.0, 2.0),
        ExerciseScore("bad", "check-bad", 0.0, 3.0, None, checks),
    )
    return handed, Record("01_x", "ada", "0", "0", "none", "0", "2026-01-01T00:00:00", 1.0, exercises)


def test_a_mark_that_is_as_it_must_be_is_not_reported():
    assert wrong(*handed_in_and_graded()) == []


@pytest.mark.parametrize(
    ("must", "fault"),
    [
        ({"exact": {"good": 1.0}}, "good got 2 points instead of 1"),
        ({"loses": {"good": ""}}, "good lost no points"),
        ({"loses": {"bad": "cubed"}}, "does not say 'cubed'"),
        ({"says": "not JSON"}, "does not say 'not JSON'"),
        ({"answered": True}, "a question counts as not answered"),
    ],
)
def test_each_thing_that_is_not_as_it_must_be_is_reported(must, fault):
    handed, record = handed_in_and_graded()
    said = wrong(replace(handed, **must), record)
    assert any(fault in text for text in said), json.dumps(said)
