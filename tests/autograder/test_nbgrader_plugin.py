"""nbgrader's own commands in a course: from the exchange to the export, with the marks that `sparring grade` gives."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from coursework import LESSON, RIGHT, SQUARED, copy_of, hand_in, hostile, mark_by_hand, scores
from demo.classroom import HandedIn
from demo.exchange import collect, release, submit
from nbgrader.apps import ExportApp, NbGraderAPI
from traitlets.config.loader import PyFileConfigLoader

from sparring_grader.errors import CourseError, GraderError, WallError
from sparring_grader.grade import grade_course
from sparring_grader.nbgrader_plugin import GradingExporter, take_the_lessons_notebook
from sparring_grader.record import Record
from sparring_grader.wall import find_bubblewrap

try:
    find_bubblewrap()
except WallError as error:
    pytest.skip(f"no wall can be built here: {error}", allow_module_level=True)

ANSWER = "Because the caller holds it."
WORK = {"ada": (RIGHT, ANSWER), "bob": (SQUARED, None), "dan": ("import os\nos._exit(3)\n" + RIGHT, None)}


def api(course):
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course.directory)).load_config()
    config.NbGraderAPI.log_level = "ERROR"
    return NbGraderAPI(config=config)


def autograde(course, student="*"):
    result = api(course).autograde(LESSON, student, force=False)
    assert result["success"], result


@pytest.fixture(scope="module")
def collected(made_course, tmp_path_factory):
    """A class that handed in through the exchange: release_assignment, submit and collect are nbgrader's."""
    folder = tmp_path_factory.mktemp("nbgrader")
    course = copy_of(made_course, folder / "fall")
    written = copy_of(made_course, folder / "desk")
    release(course.directory, [LESSON])
    handed = [
        HandedIn(name, LESSON, name, hand_in(written, name, *work).read_bytes())
        for name, work in WORK.items()
    ]
    handed.append(HandedIn("pdf", LESSON, "broken", b"%PDF-1.7"))
    submit(course.directory, handed)
    collect(course.directory, LESSON)
    return course


@pytest.fixture(scope="module")
def both(collected, tmp_path_factory):
    """The class, graded by `nbgrader autograde` in one copy of the course and by `sparring grade` in another."""
    folder = tmp_path_factory.mktemp("both")
    stock, ours = copy_of(collected, folder / "stock"), copy_of(collected, folder / "ours")
    autograde(stock)
    grade_course(ours)
    return stock, ours


def record(course, student):
    return Record.from_json(course.record(LESSON, student).read_text())


def test_nbgrader_autograde_gives_the_marks_of_sparring_grade(both):
    """Records agree down to each check and message, gradebooks in every score and flag, notebooks in every byte."""
    stock, ours = both
    for student in [*WORK, "pdf"]:
        one, other = record(stock, student), record(ours, student)
        assert one.exercises == other.exercises
        assert one.questions == other.questions
        assert (one.notes, one.trouble, one.seed_id, one.wall) == (
            other.notes,
            other.trouble,
            other.seed_id,
            other.wall,
        )
        assert scores(stock, student) == scores(ours, student)
        for name in (f"{LESSON}.ipynb", "timestamp.txt", "submission_secret.txt"):
            path = Path(student, LESSON, name)
            graded = [course.directory / "autograded" / path for course in both]
            assert graded[0].read_text() == graded[1].read_text()
    assert [record(stock, student).earned for student in WORK] == [3, 1, 0]


def test_nbgrader_knows_both_classes_as_graded_and_passes_over_them(both):
    """Its own freshness holds: a second autograde does nothing, and the formgrader lists everyone as graded."""
    for course in both:
        assert api(course).get_autograded_students(LESSON) == {*WORK, "pdf"}
        before = course.record(LESSON, "ada").stat().st_mtime_ns
        autograde(course)
        assert course.record(LESSON, "ada").stat().st_mtime_ns == before


def test_nbgraders_feedback_and_release_of_it_work_after_either(both):
    """generate_feedback makes the page that `sparring grade` has made; release_feedback gives each to its owner."""
    stock, ours = both
    result = api(stock).generate_feedback(LESSON, force=True)
    assert result["success"], result
    assert stock.feedback(LESSON, "bob").read_text() == ours.feedback(LESSON, "bob").read_text()
    assert "You squared x" in ours.feedback(LESSON, "bob").read_text()
    for course in both:
        result = api(course).release_feedback(LESSON)
        assert result["success"], result
        given = list((course.directory / "exchange" / course.id / "feedback").glob("*.html"))
        assert len(given) == len(WORK) + 1


def test_export_lists_everyone_with_a_persons_mark_counted(both, monkeypatch):
    stock, _ = both
    mark_by_hand(stock, "ada", "why-alone", 2.0)
    monkeypatch.chdir(stock.directory)
    app = ExportApp()
    app.initialize([])
    app.start()
    with (stock.directory / "grades.csv").open() as file:
        rows = {row["student_id"]: (row["score"], row["max_score"]) for row in csv.DictReader(file)}
    assert rows == {
        "ada": ("5.0", "5.5"),
        "bob": ("1.0", "5.5"),
        "dan": ("0.0", "5.5"),
        "pdf": ("0.0", "5.5"),
    }


def test_a_newer_submission_is_graded_again_and_a_persons_mark_stays_flagged(collected, tmp_path):
    """Its time makes nbgrader grade it without --force."""
    course = copy_of(collected, tmp_path / "fall")
    autograde(course, "bob")
    mark_by_hand(course, "bob", "check-double", 2.5)
    hand_in(course, "bob", RIGHT)
    (course.submitted(LESSON, "bob") / "timestamp.txt").write_text("2099-01-01 00:00:00 UTC")
    autograde(course, "bob")
    assert scores(course, "bob")["check-double"] == (3, 2.5, True)


def test_what_is_no_notebook_takes_the_same_route(course):
    """A pipe or a link would hang or mislead nbgrader's own reading; a wrong name would get no mark at all."""
    said = hostile(course)
    del (
        said["nest"],
        said["ghost"],
    )  # nbgrader globs for notebooks: where there is none, it sees no submission
    for student, reason in said.items():
        autograde(course, student)
        assert reason in record(course, student).trouble
        assert scores(course, student) == {"check-double": (0, None, False), "why-alone": (0, None, False)}
        assert reason in (course.autograded(LESSON, student) / f"{LESSON}.ipynb").read_text()


def test_another_notebook_beside_the_right_one_changes_nothing():
    right, other = f"/c/submitted/ada/{LESSON}/{LESSON}.ipynb", f"/c/submitted/ada/{LESSON}/notes.ipynb"
    both = [other, right]
    take_the_lessons_notebook(assignment=LESSON, student="*", notebooks=both)
    assert both == [other, right]
    wrong = [other]
    take_the_lessons_notebook(assignment=LESSON, student="*", notebooks=wrong)
    assert wrong == [right]


def test_without_a_wall_nbgrader_grades_nothing(course, monkeypatch):
    """The submission is left as it was handed in: no record, no mark, no graded notebook."""

    def refuse():
        raise WallError("no namespaces here; allow them")

    hand_in(course, "ada", RIGHT)
    monkeypatch.setattr("sparring_grader.wall.find_bubblewrap", refuse)
    result = api(course).autograde(LESSON, "ada")
    assert not result["success"]
    assert "no namespaces here; allow them" in result["log"]
    assert not course.record(LESSON, "ada").exists()
    assert not course.autograded(LESSON, "ada").exists()


def test_a_file_that_is_not_the_courses_is_refused(course, tmp_path):
    exporter = GradingExporter()
    elsewhere = hand_in(course, "ada", RIGHT)
    with pytest.raises(CourseError, match="no course directory"):
        exporter.from_filename(str(tmp_path / "a/b/c/d.ipynb"))
    with pytest.raises(CourseError, match=r"is not submitted/STUDENT/LESSON/LESSON\.ipynb"):
        exporter.from_filename(str(course.feedback(LESSON, "ada")))
    odd = elsewhere.parent.parent.rename(elsewhere.parent.parent.with_name("a b"))
    with pytest.raises(GraderError, match="'a b' can't be used"):
        exporter.from_filename(str(odd / LESSON / f"{LESSON}.ipynb"))


@pytest.mark.slow
def test_the_nbgrader_command_itself_grades_in_a_course_and_stops_in_a_broken_one(collected, tmp_path):
    """As an instructor types it, with the environment not activated: exit 0 and marks; exit 1 and none."""
    course = copy_of(collected, tmp_path / "fall")
    command = [str(Path(sys.executable).with_name("nbgrader")), "autograde", LESSON, "--student", "ada"]
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}

    def run():
        return subprocess.run(
            command, cwd=course.directory, env=environment, capture_output=True, text=True, timeout=200
        )

    assert run().returncode == 0
    assert scores(course, "ada")["check-double"] == (3, None, False)
    (course.directory / "course.json").write_text("{")
    course.record(LESSON, "ada").unlink()
    broken = run()
    assert broken.returncode != 0
    assert "course.json is damaged" in broken.stdout + broken.stderr
    assert not course.record(LESSON, "ada").exists()
