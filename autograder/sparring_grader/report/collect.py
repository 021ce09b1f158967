"""Reads what a report needs from a course: the records of grading, and the gradebook's marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from nbgrader.api import Gradebook
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from sparring_grader.errors import CourseError
from sparring_grader.record import Record
from sparring_grader.report.model import Grade, Report, summarize


def collect(records: Path, db_url: str, course: str, lessons: Iterable[str] = ()) -> Report:
    """Return the report on a course: of `lessons`, by id or number, or of all that have been graded if none is named.

    `records` is the folder that holds LESSON/STUDENT.json, `course` the course id by which the gradebook knows it.

    Raises:
        CourseError: a lesson is unknown, nothing has been graded, a record is damaged, or the gradebook can't be
            read.
    """
    graded = sorted(path.name for path in records.iterdir() if path.is_dir()) if records.is_dir() else []
    _refuse_if_missing(db_url)
    try:
        with Gradebook(db_url, course_id=course) as gradebook:
            known = sorted(assignment.name for assignment in gradebook.assignments)
            chosen = _chosen(list(lessons), known, graded)
            students = sorted(student.id for student in gradebook.students)
            grades = {lesson: _grades(gradebook, lesson) for lesson in chosen}
    except SQLAlchemyError as error:
        raise CourseError(
            f"the gradebook {_without_password(db_url)} can't be read: {_reason(error)}; see that it is there, "
            "that no other program holds it locked, and that its URL in course.json is right"
        ) from error
    parts = []
    for lesson in chosen:
        loaded = [_record(path) for path in sorted((records / lesson).glob("*.json"))]
        rank = {cell: i for i, cell in enumerate(_cells(loaded))}
        sorted_grades = {
            student: sorted(one, key=lambda grade: rank.get(grade.cell, len(rank)))
            for student, one in grades[lesson].items()
        }
        parts.append(summarize(lesson, loaded, sorted_grades, students))
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(course, made, tuple(students), tuple(parts))


def _chosen(wanted: list[str], known: list[str], graded: list[str]) -> list[str]:
    """Return the lessons meant by their ids or numbers, or all that are graded."""
    chosen = [] if wanted else [lesson for lesson in known if lesson in graded]
    for name in wanted:
        meant = [lesson for lesson in known if name in (lesson, lesson.split("_")[0])]
        if not meant:
            raise CourseError(
                f"there is no lesson {name!r} in the gradebook; it knows {', '.join(known) or 'none yet'}"
            )
        chosen += meant
    if not chosen:
        raise CourseError(
            "nothing has been graded yet, so there is nothing to report; run `sparring grade` first"
        )
    return list(dict.fromkeys(chosen))


def _grades(gradebook: Gradebook, lesson: str) -> dict[str, list[Grade]]:
    grades: dict[str, list[Grade]] = defaultdict(list)
    for submission in gradebook.assignment_submissions(lesson):
        for notebook in submission.notebooks:
            grades[submission.student.id] += [
                Grade(
                    cell=grade.name,
                    earned=float(grade.score or 0),
                    points=float(grade.max_score or 0),
                    waiting=bool(grade.needs_manual_grade) and grade.manual_score is None,
                    by_hand=grade.manual_score is not None and grade.auto_score is not None,
                )
                for grade in notebook.grades
            ]
    return dict(grades)


def _record(path: Path) -> Record:
    try:
        return Record.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CourseError(
            f"{path}: the record can't be read ({error}); grade this submission again with "
            f"`sparring grade {path.parent.name} --student {path.stem}`"
        ) from error


def _cells(records: Iterable[Record]) -> list[str]:
    """Return the cells in the order in which grading met them, the exercises before the questions."""
    found: dict[str, None] = {}
    for record in records:
        found.update(dict.fromkeys(exercise.cell for exercise in record.exercises))
    for record in records:
        found.update(dict.fromkeys(question.cell for question in record.questions))
    return list(found)


def _refuse_if_missing(db_url: str) -> None:
    """Stop where nbgrader would make an empty gradebook: reading a class's marks must never create one."""
    url = make_url(db_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise CourseError(
            f"there is no gradebook at {url.database}; run this in the course directory, or bring the file back"
        )


def _reason(error: SQLAlchemyError) -> str:
    """Return the first line of what the database itself said."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _without_password(db_url: str) -> str:
    return make_url(db_url).render_as_string(hide_password=True)
