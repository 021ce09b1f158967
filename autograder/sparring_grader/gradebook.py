"""nbgrader's own gradebook, in SQLite or PostgreSQL: each graded submission is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from nbformat import NotebookNode
from nbgrader import api
from nbgrader.utils import compute_checksum
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from sparring_grader.errors import GraderError
from sparring_grader.record import Record

WAIT_SECONDS = 20.0
NO_RESPONSE = "No response."


class Gradebook:
    """A gradebook that grading writes to, and in which nobody else's marks are lost.

    What a person wrote (a manual score, extra credit, a comment, a flag) is never changed. Every method raises
    GraderError where the gradebook is locked, can't be reached, or is none.
    """

    def __init__(self, db_url: str, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait = wait_seconds
        try:
            url = make_url(db_url)
            self.name = url.render_as_string(hide_password=True)
            seconds: dict[str, float] = {}
            if url.get_backend_name() == "sqlite":
                seconds = {"timeout": wait_seconds}
            elif url.get_backend_name() == "postgresql":
                seconds = {"connect_timeout": max(2, int(wait_seconds))}
            self._engine = create_engine(url, connect_args=seconds)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise GraderError(
                f"can't use the gradebook {_without_password(db_url)!r}: {_first_line(error)}; its URL must look "
                "like sqlite:////absolute/path.db or postgresql://user:password@host/database"
            ) from error

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def assignments(self) -> frozenset[str]:
        """Return the names of the assignments in it; none if it is an empty database, or one yet to be made."""
        if self._lacks_its_file():
            return frozenset()
        with self._transaction() as session:
            if not inspect(session.connection()).has_table(api.Assignment.__tablename__):
                return frozenset()
            return frozenset(session.scalars(select(api.Assignment.name)))

    def agrees(self, record: Record) -> bool:
        """Whether the automatic scores in the gradebook are those of this record."""
        with self._transaction() as session:
            submitted = _submitted(session, record)
            if submitted is None:
                return False
            scores = {grade.cell.name: grade.auto_score for grade in submitted.grades}
        return all(scores.get(cell) == earned for cell, earned in _earned(record).items())

    def waiting(self) -> frozenset[tuple[str, str]]:
        """Return the assignment and student of each submission in which something waits for a person."""
        with self._transaction() as session:
            found = session.execute(
                select(api.Assignment.name, api.SubmittedAssignment.student_id)
                .join(api.SubmittedAssignment, api.SubmittedAssignment.assignment_id == api.Assignment.id)
                .join(
                    api.SubmittedNotebook, api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id
                )
                .join(api.Grade, api.Grade.notebook_id == api.SubmittedNotebook.id)
                .where(api.Grade.needs_manual_grade)
            )
            return frozenset((lesson, student) for lesson, student in found)

    def write(
        self, record: Record, notebook: NotebookNode, *, submitted_at: datetime | None, changed: bool
    ) -> None:
        """Write a submission's scores and comments, all or nothing.

        `notebook` is the graded notebook; `changed` says that it is another submission than the one graded
        before: then a mark that a person gave stays, and its cell is flagged for that person to look at again.
        """
        with self._transaction() as session:
            master = session.scalars(
                select(api.Notebook).join(api.Assignment)
                .where(api.Assignment.name == record.lesson, api.Notebook.name == record.lesson)
            ).one_or_none()  # fmt: skip
            if master is None:
                raise GraderError(
                    f"the gradebook {self.name} has no assignment {record.lesson!r}; make it with "
                    f"`nbgrader generate_assignment {record.lesson}`"
                )
            submitted = _submitted(session, record) or _new(session, record, master)
            submitted.assignment.timestamp = submitted_at
            _write_grades(master, submitted, record, changed)
            _write_comments(master, submitted, notebook)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        if self._lacks_its_file():
            raise GraderError(
                f"the gradebook {self.name} is not there; put it back from a copy, or begin an empty one with "
                "`nbgrader generate_assignment LESSON`"
            )
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except OperationalError as error:
            reason = _first_line(error.orig or error)
            if "locked" in reason:
                raise GraderError(
                    f"the gradebook {self.name} is locked by another program (waited {self._wait:g} s); close what "
                    "writes to it, then run this again: what has been graded is kept"
                ) from error
            if "full" in reason:
                raise GraderError(
                    f"the gradebook {self.name} can't be written: {reason}; make room, then run this again: what was "
                    "in it is untouched"
                ) from error
            if "no such" in reason:
                raise self._broken(reason) from error
            raise GraderError(
                f"the gradebook {self.name} can't be reached: {reason}; check that it is there, that its server "
                "runs and that its URL (of --db, kept in course.json) is right, then run this again"
            ) from error
        except SQLAlchemyError as error:
            raise self._broken(_first_line(getattr(error, "orig", None) or error)) from error

    def _lacks_its_file(self) -> bool:
        """Whether SQLite would make an empty gradebook, which would hide that a class's marks are gone."""
        if self._engine.url.get_backend_name() != "sqlite":
            return False
        path = Path(self._engine.url.database or ".")
        # Without its folder SQLite makes nothing, and says so itself.
        return path.parent.is_dir() and not path.exists()

    def _broken(self, reason: str) -> GraderError:
        return GraderError(
            f"the gradebook {self.name} does not work: {reason}; if nbgrader was upgraded, copy it and run "
            "`nbgrader db upgrade`"
        )


def _submitted(session: Session, record: Record) -> Any | None:
    return session.scalars(
        select(api.SubmittedNotebook)
        .join(api.SubmittedAssignment, api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id)
        .join(api.Notebook, api.SubmittedNotebook.notebook_id == api.Notebook.id)
        .join(api.Assignment, api.SubmittedAssignment.assignment_id == api.Assignment.id)
        .where(api.Assignment.name == record.lesson, api.Notebook.name == record.lesson)
        .where(api.SubmittedAssignment.student_id == record.student)
    ).one_or_none()


def _new(session: Session, record: Record, master: Any) -> Any:
    """Add the student if need be, and an empty submission, as nbgrader's own Gradebook.add_submission does."""
    student = session.get(api.Student, record.student) or api.Student(id=record.student)
    whole = session.scalars(
        select(api.SubmittedAssignment)
        .where(api.SubmittedAssignment.assignment_id == master.assignment_id)
        .where(api.SubmittedAssignment.student_id == record.student)
    ).one_or_none()
    whole = whole or api.SubmittedAssignment(assignment=master.assignment, student=student)
    submitted = api.SubmittedNotebook(notebook=master, assignment=whole)
    session.add_all([student, whole, submitted])
    session.flush()
    return submitted


def _earned(record: Record) -> dict[str, float | None]:
    """Return the automatic score of each graded cell, None where a person has to look."""
    earned: dict[str, float | None] = {exercise.cell: exercise.earned for exercise in record.exercises}
    # An answer that was never written is worth nothing, and no person need look at it.
    return earned | {item.cell: None if item.answered else 0.0 for item in record.questions}


def _write_grades(master: Any, submitted: Any, record: Record, changed: bool) -> None:
    grades = {grade.cell_id: grade for grade in submitted.grades}
    earned = _earned(record)
    for cell in [*master.grade_cells, *master.task_cells]:
        grade = grades.get(cell.id) or _added(submitted, api.Grade(cell_id=cell.id))
        score = earned.get(cell.name)
        if grade.manual_score is not None or grade.extra_credit:
            grade.needs_manual_grade = grade.needs_manual_grade or changed or grade.auto_score != score
        else:
            grade.needs_manual_grade = score is None
        grade.auto_score = score


def _write_comments(master: Any, submitted: Any, notebook: NotebookNode) -> None:
    comments = {comment.cell_id: comment for comment in submitted.comments}
    untouched = {
        data["grade_id"]
        for cell in notebook.cells
        if (data := _nbgrader(cell)) and data.get("checksum") == compute_checksum(cell)
    }
    for cell in [*master.solution_cells, *master.task_cells]:
        comment = comments.get(cell.id) or _added(submitted, api.Comment(cell_id=cell.id))
        solution = not isinstance(cell, api.TaskCell)
        comment.auto_comment = NO_RESPONSE if solution and cell.name in untouched else None


def _added(submitted: Any, row: Any) -> Any:
    """Add a grade or a comment to a submitted notebook."""
    (submitted.grades if isinstance(row, api.Grade) else submitted.comments).append(row)
    return row


def _nbgrader(cell: NotebookNode) -> Mapping[str, Any] | None:
    data = cell.metadata.get("nbgrader")
    return data if isinstance(data, dict) and "grade_id" in data else None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".;") if lines else type(error).__name__


def _without_password(db_url: str) -> str:
    head, at, tail = db_url.rpartition("@")
    return f"{head.rsplit(':', 1)[0]}:***{at}{tail}" if at else db_url
