"""Keeping what grading found: gradebook, graded notebook, feedback page, and last of all the record."""

from __future__ import annotations

from pathlib import Path

from sparring_grader import files, intake, publish
from sparring_grader.course import Course
from sparring_grader.gradebook import Gradebook
from sparring_grader.record import Record
from sparring_grader.scoring import Graded


def previous(course: Course, lesson: str, student: str) -> Record | None:
    """Return the record of the submission that was graded last; None if there is none that can be read."""
    try:
        return Record.from_json(course.record(lesson, student).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(course: Course, book: Gradebook, graded: Graded) -> None:
    """Write all that came of a submission; the record comes last, so what lacks one is graded again.

    Raises:
        GraderError: the gradebook or a file can't be written; what was there before is whole.
    """
    from sparring_grader.feedback_page import write_feedback

    record = graded.record
    enter(course, book, graded)
    folder = course.autograded(record.lesson, record.student)
    files.write(folder / f"{record.lesson}.ipynb", publish.dumps(graded.notebook), mode=0o444)
    page = write_feedback(course.directory, record.lesson, record.student)
    _stamp(course, record, folder, page.parent)
    _remember(course, record)


def enter(course: Course, book: Gradebook, graded: Graded) -> None:
    """Write the scores into the gradebook."""
    record = graded.record
    before = previous(course, record.lesson, record.student)
    book.write(
        record,
        graded.notebook,
        submitted_at=intake.submitted_at(course.submitted(record.lesson, record.student)),
        changed=before is None or before.submission_sha256 != record.submission_sha256,
    )


def enter_and_remember(course: Course, book: Gradebook, graded: Graded) -> None:
    """Write scores and record, where nbgrader itself writes the graded notebook and the feedback page."""
    enter(course, book, graded)
    _remember(course, graded.record)


def _stamp(course: Course, record: Record, *folders: Path) -> None:
    """Lay beside the graded notebook and its page what nbgrader lays there: it tells by them which is newer."""
    for name in intake.STAMPS:
        text = intake.stamp(course.submitted(record.lesson, record.student), name)
        for folder in folders:
            if text is None:
                (folder / name).unlink(missing_ok=True)
            else:
                files.write(folder / name, text, mode=0o444)


def _remember(course: Course, record: Record) -> None:
    files.write(course.record(record.lesson, record.student), record.to_json(), mode=0o600)
