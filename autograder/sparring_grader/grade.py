"""Grade a course: score each submission in a pool of processes, and keep what comes of it, one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sparring_grader import filing, intake, pool, solutions
from sparring_grader.course import Course, open_course
from sparring_grader.errors import CourseError, GraderError, LessonError, SubmissionError, WallError
from sparring_grader.gradebook import Gradebook
from sparring_grader.intake import HandedIn
from sparring_grader.record import Record
from sparring_grader.scoring import Graded, Job, checks_sha256, score, untaken

NOT_RUN = "not run"


@dataclass(frozen=True)
class Task:
    """What a worker needs to know to score one submission; it reads everything else itself."""

    course: Path
    lesson: str
    student: str
    unsandboxed: bool = False


@dataclass(frozen=True)
class Step:
    """One submission is done: `record` is its marks, or `problem` what kept it from being graded."""

    lesson: str
    student: str
    record: Record | None
    problem: str | None = None


@dataclass
class Summary:
    """What a run did: records made, records that stood already, and what could not be graded and why.

    `waiting` holds the lesson and student of each submission with something that a person has to mark.
    """

    graded: list[Record] = field(default_factory=list)
    current: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    waiting: frozenset[tuple[str, str]] = frozenset()

    @property
    def records(self) -> list[Record]:
        """All records that stand now, by lesson and student."""
        return sorted([*self.graded, *self.current], key=lambda item: (item.lesson, item.student))


Progress = Callable[[Step], None]


def score_submission(task: Task) -> Graded:
    """Return what a submission in submitted/ earned; a file that is no notebook earns nothing, with its reason.

    Raises:
        CourseError: the course or the lesson's release is damaged.
        LessonError: the lesson's checks.py can't be loaded.
        WallError: the wall can't be built on this machine.
        OSError: the file can't be read, though it is there.
    """
    course = open_course(task.course)
    master = course.master(task.lesson)
    job = Job(
        lesson=task.lesson,
        student=task.student,
        master=_master(master, _changed(master)),
        checks=course.checks(task.lesson),
        secret=course.secret,
        limits=course.limits,
        unsandboxed=task.unsandboxed,
    )
    try:
        submission = intake.read(course.submitted(task.lesson, task.student), task.lesson)
    except SubmissionError as error:
        return untaken(job, b"", str(error))
    return score(submission, job)


def plan(
    course: Course, lessons: Sequence[str] = (), students: Sequence[str] = ()
) -> tuple[list[HandedIn], list[str]]:
    """Return the submissions that are meant, and what lies in submitted/ that can't be graded.

    Raises:
        LessonError: the course has no such lesson.
        GraderError: there is no such student, or nothing has been handed in.
    """
    chosen = solutions.choose(lessons, course.lessons, course.directory)
    handed, left = intake.find(course, chosen, students)
    if not handed and not left:
        first = chosen[0] if chosen else "LESSON"
        raise GraderError(
            f"nothing in {course.directory / 'submitted'} to grade; bring submissions in with "
            f"`nbgrader collect {first}`"
        )
    return handed, left


def grade_course(
    course: Course,
    lessons: Sequence[str] = (),
    students: Sequence[str] = (),
    *,
    workers: int | None = None,
    unsandboxed: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Grade what was handed in, and return what was done.

    A submission that was graded before, with the same bytes, checks and wall, is left as it is unless `force`.
    What goes wrong with one submission is noted and changes nothing for the others.

    Raises:
        LessonError, WallError, CourseError, GraderError: what keeps every submission from being graded; what was
            graded until then is kept.
    """
    wall = "none" if unsandboxed else _wall()
    handed, left = plan(course, lessons, students)
    summary = Summary(problems=list(left))
    tell = progress or (lambda step: None)
    with Gradebook(course.db_url) as book:
        tasks = []
        for item in handed:
            record = None if force else _current(course, book, item, wall)
            if record is None:
                tasks.append(Task(course.directory, item.lesson, item.student, unsandboxed))
            else:
                summary.current.append(record)
                tell(Step(item.lesson, item.student, record))
        with closing(pool.results(score_submission, tasks, workers or pool.cores())) as outcomes:
            for task, outcome in outcomes:
                step = _keep(course, book, task, outcome)
                if step.record is None:
                    summary.problems.append(step.problem or "")
                else:
                    summary.graded.append(step.record)
                tell(step)
        summary.waiting = book.waiting()
    return summary


def _keep(course: Course, book: Gradebook, task: Task, outcome: Graded | Exception) -> Step:
    """Keep what came of one submission; raise what would keep every other one from being graded, too."""
    if not isinstance(outcome, Exception):
        try:
            filing.keep(course, book, outcome)
            return Step(task.lesson, task.student, outcome.record)
        except GraderError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this one, the others are graded
            outcome = error
    return Step(task.lesson, task.student, None, _problem(task, outcome))


def _problem(task: Task, error: Exception) -> str:
    """Return what to tell about a submission that could not be graded; raise what stops all of them."""
    if isinstance(error, (WallError, LessonError, CourseError)):
        raise error
    what = f"{task.student}'s {task.lesson}"
    if isinstance(error, OSError):
        return f"{what} can't be read: {error.strerror or error}; check permissions, then run this again"
    if isinstance(error, BrokenProcessPool):
        return f"{what} took its grading process down twice; is memory short? free some, or try --workers 1"
    return f"{what} could not be graded: {type(error).__name__}: {error}; please report this"


def _current(course: Course, book: Gradebook, item: HandedIn, wall: str) -> Record | None:
    """Return the record of a submission that needs no grading; None where anything is missing or has changed."""
    record = filing.previous(course, item.lesson, item.student)
    folder = course.submitted(item.lesson, item.student)
    notebook = course.autograded(item.lesson, item.student) / f"{item.lesson}.ipynb"
    if record is None or record.wall not in (wall, NOT_RUN):
        return None
    if not notebook.is_file() or not course.feedback(item.lesson, item.student).is_file():
        return None
    try:
        sha256 = hashlib.sha256(intake.read(folder, item.lesson)).hexdigest()
    except (SubmissionError, OSError):
        return None
    same = (sha256, checks_sha256(course.checks(item.lesson)))
    if same != (record.submission_sha256, record.checks_sha256) or not book.agrees(record):
        return None
    return record


def _wall() -> str:
    from sparring_grader.wall import find_bubblewrap

    return find_bubblewrap()[1]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise CourseError(
            f"can't read the release {path}: {error.strerror}; make it with `nbgrader generate_assignment "
            f"{path.stem}`"
        ) from error


@lru_cache(maxsize=8)
def _master(path: Path, changed: int) -> NotebookNode:
    """Read a release once for all the submissions that a worker scores; `changed` tells a new one from the old."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise CourseError(
            f"{path} is no notebook ({str(error)[:200]}); make it again with "
            f"`nbgrader generate_assignment {path.stem}`"
        ) from error
