"""The gradebook: nbgrader's own, one transaction per submission, in which a person's marks are never lost."""

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from coursework import LESSON, RIGHT, SOLUTIONS, mark_by_hand, scores
from nbgrader.api import Gradebook as Registry
from nbgrader.api import MissingEntry
from postgres import server
from sqlalchemy import event

from sparring_grader import gradebook as gradebooks
from sparring_grader.creation import create
from sparring_grader.errors import GraderError
from sparring_grader.gradebook import Gradebook
from sparring_grader.record import ExerciseScore, QuestionState, Record

NOON = datetime(2026, 3, 2, 12)
ANSWER = "Because the caller holds it."


def record(student="ada", earned=2.0, *, answered=True, sha256="a" * 64):
    return Record(
        lesson=LESSON,
        student=student,
        submission_sha256=sha256,
        checks_sha256="b" * 64,
        wall="bubblewrap 0.8.0",
        seed_id="c",
        started="2026-03-02T12:00:00+00:00",
        seconds=1.0,
        exercises=(ExerciseScore("double", "check-double", earned, 3.0),),
        questions=(QuestionState("why-alone", 2.5, answered),),
    )


@pytest.fixture
def notebook(course):
    """The graded notebook of who solved the exercise and answered the question."""
    graded = nbformat.read(course.master(LESSON), as_version=4)
    for cell in graded.cells:
        cell.source = {"double": RIGHT, "why-alone": ANSWER}.get(cell.id, cell.source)
    return graded


def write(course, made, notebook, *, changed=True, submitted_at=NOON):
    with Gradebook(course.db_url) as book:
        book.write(made, notebook, submitted_at=submitted_at, changed=changed)


def comments(course, student="ada"):
    with Registry(course.db_url, course.id) as registry:
        found = registry.find_submission_notebook(LESSON, LESSON, student).comments
        return {comment.name: comment.comment for comment in found}


def test_nbgrader_reads_what_was_written(course, notebook):
    """Exercises have their score, an answered question waits for a person, totals are nbgrader's own sums."""
    write(course, record(), notebook)
    assert scores(course, "ada") == {"check-double": (2.0, None, False), "why-alone": (None, None, True)}
    with Registry(course.db_url, course.id) as registry:
        submission = registry.find_submission(LESSON, "ada")
        assert (submission.score, submission.max_score, submission.timestamp) == (2.0, 5.5, NOON)
        assert submission.needs_manual_grade
    with Gradebook(course.db_url) as book:
        assert book.waiting() == {(LESSON, "ada")}
        assert book.agrees(record())
        assert not book.agrees(record(earned=3.0))
        assert not book.agrees(record("bob"))


def test_an_answer_that_was_never_written_is_worth_nothing_and_waits_for_nobody(course):
    release = nbformat.read(course.master(LESSON), as_version=4)
    write(course, record(earned=0.0, answered=False), release)
    assert scores(course, "ada") == {"check-double": (0.0, None, False), "why-alone": (0.0, None, False)}
    assert comments(course) == {"double": "No response.", "why-alone": "No response."}
    with Gradebook(course.db_url) as book:
        assert book.waiting() == frozenset()


def test_no_response_goes_when_there_is_one(course, notebook):
    write(course, record(answered=False), nbformat.read(course.master(LESSON), as_version=4))
    write(course, record(), notebook)
    assert comments(course) == {"double": None, "why-alone": None}


def test_a_persons_mark_stays_and_is_flagged_when_the_work_has_changed(course, notebook):
    """Not flagged when the same work is graded again with the same outcome; never overwritten."""
    write(course, record(), notebook)
    mark_by_hand(course, "ada", "why-alone", 1.5)
    mark_by_hand(course, "ada", "check-double", 3.0)
    write(course, record(), notebook, changed=False)
    assert scores(course, "ada") == {"check-double": (2.0, 3.0, False), "why-alone": (None, 1.5, False)}
    write(course, record(earned=1.0), notebook, changed=False)
    assert scores(course, "ada") == {"check-double": (1.0, 3.0, True), "why-alone": (None, 1.5, False)}
    write(course, record(earned=1.0, sha256="d" * 64), notebook, changed=True)
    assert scores(course, "ada") == {"check-double": (1.0, 3.0, True), "why-alone": (None, 1.5, True)}
    write(course, record(earned=1.0, sha256="d" * 64), notebook, changed=False)
    assert scores(course, "ada")["why-alone"] == (None, 1.5, True), (
        "a flag stays until a person takes it away"
    )


def test_comments_extra_credit_and_flags_of_a_person_stay(course, notebook):
    write(course, record(), notebook)
    with Registry(course.db_url, course.id) as registry:
        registry.find_comment("double", LESSON, LESSON, "ada").manual_comment = "Elegant."
        registry.find_grade("check-double", LESSON, LESSON, "ada").extra_credit = 0.5
        registry.find_submission_notebook(LESSON, LESSON, "ada").flagged = True
        registry.db.commit()
    write(course, record(earned=3.0), notebook)
    with Registry(course.db_url, course.id) as registry:
        grade = registry.find_grade("check-double", LESSON, LESSON, "ada")
        assert (grade.score, grade.needs_manual_grade) == (3.5, True)
        assert registry.find_comment("double", LESSON, LESSON, "ada").comment == "Elegant."
        assert registry.find_submission_notebook(LESSON, LESSON, "ada").flagged


def test_a_submission_that_nbgrader_entered_is_completed(course, notebook):
    """`nbgrader autograde` adds student and submission before its exporter runs."""
    with Registry(course.db_url, course.id) as registry:
        registry.update_or_create_student("ada", first_name="Ada")
        registry.update_or_create_submission(LESSON, "ada")
    write(course, record(), notebook)
    assert scores(course, "ada")["check-double"] == (2.0, None, False)
    with Registry(course.db_url, course.id) as registry:
        assert registry.find_student("ada").first_name == "Ada"


def test_a_write_that_fails_half_way_leaves_nothing(course, notebook, monkeypatch):
    """Student, submission and scores are one transaction: a first try leaves no student, a second the old score."""
    with monkeypatch.context() as patch:
        patch.setattr(gradebooks, "_write_comments", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(course, record(), notebook)
    with Registry(course.db_url, course.id) as registry, pytest.raises(MissingEntry):
        registry.find_student("ada")
    write(course, record(), notebook)
    with monkeypatch.context() as patch:
        patch.setattr(gradebooks, "_write_comments", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(course, record(earned=0.0), notebook)
    assert scores(course, "ada")["check-double"] == (2.0, None, False)


def test_a_locked_gradebook_is_named_with_its_remedy_and_unharmed(course, notebook):
    write(course, record(), notebook)
    path = course.directory / "gradebook.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            Gradebook(course.db_url, wait_seconds=0.2) as book,
            pytest.raises(
                GraderError, match=r"gradebook\.db is locked by another program .waited 0.2 s.; close"
            ),
        ):
            book.write(record(earned=0.0), notebook, submitted_at=NOON, changed=True)
        other.rollback()
    assert scores(course, "ada")["check-double"] == (2.0, None, False)


def test_a_gradebook_that_is_none_is_named(course, notebook):
    path = course.directory / "gradebook.db"
    path.write_bytes(b"this is no database, but long enough to look into" * 100)
    with pytest.raises(GraderError, match="does not work: file is not a database"):
        write(course, record(), notebook)
    path.unlink()
    path.mkdir()
    with pytest.raises(GraderError, match="can't be reached: unable to open"):
        write(course, record(), notebook)


def test_a_gradebook_that_is_gone_is_named_and_no_empty_one_takes_its_place(course, notebook):
    """An empty gradebook in its place would look as if nobody had ever been marked."""
    path = course.directory / "gradebook.db"
    path.unlink()
    with pytest.raises(GraderError, match=r"gradebook\.db is not there; put it back from a copy"):
        write(course, record(), notebook)
    with Gradebook(course.db_url) as book:
        assert book.assignments() == frozenset()
    assert not path.exists()


def test_a_gradebook_without_room_says_to_make_some_and_keeps_what_was_in_it(course, notebook):
    """SQLite's own limit on pages stands in for a full disk: both end in the same error."""
    write(course, record(), notebook)
    with Gradebook(course.db_url) as book:
        event.listen(book._engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(GraderError, match=r"can't be written: .*full; make room, then run this again"):
            for number in range(100):
                book.write(record(f"student-{number}"), notebook, submitted_at=NOON, changed=True)
    assert scores(course, "ada")["check-double"] == (2.0, None, False)


def test_an_empty_database_holds_no_assignments_and_takes_no_marks(course, notebook, tmp_path):
    (tmp_path / "empty.db").touch()
    with Gradebook(f"sqlite:///{tmp_path}/empty.db") as book:
        assert book.assignments() == frozenset()
        with pytest.raises(GraderError, match="does not work: no such table"):
            book.write(record(), notebook, submitted_at=None, changed=True)
    with Gradebook(course.db_url) as book:
        assert book.assignments() == {LESSON}
        with pytest.raises(GraderError, match="no assignment '05_other'; make it with `nbgrader generate"):
            book.write(replace(record(), lesson="05_other"), notebook, submitted_at=None, changed=True)


@pytest.mark.slow
def test_postgresql_holds_a_course_as_sqlite_does(tmp_path, notebook):
    """A real server: the course is made, marked by both, refused a second time, and named when the server is gone."""
    # A socket's path may have about a hundred characters, which pytest's folders use up.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, server(Path(folder)) as tail:
        made = create(tmp_path / "fall", lessons_in=SOLUTIONS, db_url=f"postgresql://teacher:hush@{tail}")
        write(made, record(), notebook)
        mark_by_hand(made, "ada", "why-alone", 1.5)
        write(made, record(earned=3.0), notebook)
        assert scores(made, "ada") == {"check-double": (3.0, None, False), "why-alone": (None, 1.5, True)}
        with pytest.raises(GraderError, match=f"holds {LESSON} already"):
            create(tmp_path / "spring", lessons_in=SOLUTIONS, db_url=made.db_url)
    with pytest.raises(GraderError, match="can't be reached") as told:
        write(made, record(earned=0.0), notebook)
    assert "hush" not in str(told.value)
