"""Score one submission: run it behind the wall and put its functions to the hidden checks.

`score` never raises for a learner's fault: whatever a submission does, it gets a `Record` that says what it
earned and why. Hidden checks run here, in the grader's process, each where its check cell stands in the notebook,
with fresh inputs from a generator that is seeded from the course's secret and the submission's hash.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from nbformat import NotebookNode

from sparring_grader import feedback
from sparring_grader.checks import CheckFailed, HiddenCheck, Learner, load_checks
from sparring_grader.errors import SubmissionError
from sparring_grader.outputs import Outputs
from sparring_grader.record import CheckResult, ExerciseScore, QuestionState, Record
from sparring_grader.sandbox import Session, SessionEnded
from sparring_grader.submission import ADDED, grade_id, is_solution, rebuild
from sparring_grader.wall import Limits
from sparring_grader.wire import CannotCross

CHECK_PREFIX = "check-"
OUTPUT_LIMIT = 2_000_000


@dataclass(frozen=True)
class Job:
    """All that a submission's score depends on besides its bytes."""

    lesson: str
    student: str
    master: NotebookNode
    checks: Path
    secret: bytes
    limits: Limits = field(default_factory=Limits)
    unsandboxed: bool = False


@dataclass(frozen=True)
class Graded:
    """A submission's record, and its notebook as it was run, with the feedback in its check cells."""

    record: Record
    notebook: NotebookNode


@dataclass(frozen=True)
class Seed:
    """The secret from which one submission's fresh inputs are drawn; `id` names it without revealing it."""

    key: bytes

    @classmethod
    def of(cls, secret: bytes, lesson: str, submission_sha256: str) -> Seed:
        """Return the seed of a submission: the same bytes meet the same inputs, in this course alone."""
        return cls(hmac.new(secret, f"{lesson}\0{submission_sha256}".encode(), hashlib.sha256).digest())

    @property
    def id(self) -> str:
        """A name for the seed that does not give it away."""
        return hashlib.sha256(b"id\0" + self.key).hexdigest()[:16]

    def generator(self, check: str) -> torch.Generator:
        """Return a fresh generator for the check of this name."""
        digest = hmac.new(self.key, check.encode(), hashlib.sha256).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def score(submission: bytes, job: Job) -> Graded:
    """Return what a submission earned and its notebook with feedback.

    Raises:
        LessonError: the lesson's checks.py can't be loaded.
        WallError: the wall can't be built on this machine.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    checks = load_checks(job.checks)
    sha256 = hashlib.sha256(submission).hexdigest()
    seed = Seed.of(job.secret, job.lesson, sha256)
    try:
        rebuilt = rebuild(job.master, submission)
    except SubmissionError as error:
        return _untaken(job, sha256, seed, began, str(error))
    notebook = rebuilt.notebook
    runner = _Runner(job.master, checks, seed, rebuilt.answered)
    with Session(job.limits, unsandboxed=job.unsandboxed) as session:
        for cell in notebook.cells:
            runner.take(session, cell)
            if cell.cell_type != "code" and (is_solution(cell) or cell.id.startswith(ADDED)):
                cell.source = feedback.inert_markdown(cell.source)
        wall = session.wall
    record = Record(
        lesson=job.lesson,
        student=job.student,
        submission_sha256=sha256,
        checks_sha256=checks_sha256(job.checks),
        wall=wall,
        seed_id=seed.id,
        started=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        exercises=tuple(runner.exercises),
        questions=tuple(runner.questions),
        notes=rebuilt.notes,
        trouble=runner.trouble,
    )
    return Graded(record, _with_banner(notebook, record))


def untaken(job: Job, submission: bytes, reason: str) -> Graded:
    """Return the zero of a submission that could not even be read, with the reason."""
    sha256 = hashlib.sha256(submission).hexdigest()
    return _untaken(job, sha256, Seed.of(job.secret, job.lesson, sha256), datetime.now(UTC), reason)


def checks_sha256(path: Path) -> str:
    """Return the hash of a lesson's hidden checks, by which a record says what it was judged against."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def score_exercise(
    session: Session, hidden: Sequence[HiddenCheck], cell: str, points: float, seed: Seed
) -> ExerciseScore:
    """Put a running notebook's functions to one exercise's hidden checks, each independently of the others.

    The points of the checks are scaled so that together they make the cell's `points`.
    """
    scale = points / sum(check.points for check in hidden)
    results = []
    ended: str | None = session.ended
    for check in hidden:
        message = ended
        if message is None:
            try:
                message = _message(check, Learner(session, seed.generator(check.name)))
            except SessionEnded as error:
                message = ended = str(error)
        earned = check.points * scale if message is None else 0.0
        results.append(CheckResult(check.name, check.title, earned, check.points * scale, message))
    earned = round(sum(result.earned for result in results), 6)
    return ExerciseScore(hidden[0].exercise, cell, earned, points, None, tuple(results))


def _message(check: HiddenCheck, learner: Learner) -> str | None:
    """Run one check and return what the learner is told, None if it passed."""
    try:
        check.function(learner)
    except CheckFailed as failed:
        return str(failed)
    except CannotCross as error:
        return f"The check could not be put to your function: {error}. Please tell your instructor."
    except SessionEnded:
        raise
    except Exception as error:  # noqa: BLE001 - what came back may break any code that looks at it
        return (
            f"What your function returned could not be judged ({type(error).__name__}: {str(error)[:200]}). "
            "Is it of the type and shape that the exercise asks for?"
        )
    return None


class _Runner:
    """Takes a rebuilt notebook through a session, cell by cell, and keeps the scores."""

    def __init__(
        self,
        master: NotebookNode,
        checks: Mapping[str, list[HiddenCheck]],
        seed: Seed,
        answered: frozenset[str],
    ) -> None:
        self._master = master
        self._checks = checks
        self._seed = seed
        self._answered = answered
        self.exercises: list[ExerciseScore] = []
        self.questions: list[QuestionState] = []
        self.trouble: str | None = None

    def take(self, session: Session, cell: NotebookNode) -> None:
        """Run one cell, and score the exercise whose check it is."""
        data = cell.metadata.get("nbgrader") or {}
        name = grade_id(cell) or ""
        graded = bool(data.get("grade")) and "points" in data
        if graded and is_solution(cell):
            self.questions.append(QuestionState(name, float(data["points"]), name in self._answered))
        raised = False
        if cell.cell_type == "code" and "show" not in cell.metadata.get("tags", []):
            raised = self._run(session, cell)
        if graded and cell.cell_type == "code" and not is_solution(cell):
            result = self._score(session, name, float(data["points"]), raised)
            self.exercises.append(result)
            cell.outputs = [feedback.check_output(result), *cell.outputs]

    def _run(self, session: Session, cell: NotebookNode) -> bool:
        if session.ended is not None:
            return True
        try:
            outputs, raised = session.run(cell.source)
        except SessionEnded as error:
            self.trouble = str(error)
            outputs, raised = error.partial or Outputs(0), True
            outputs.error("SessionEnded", str(error))
        cell.outputs = feedback.clean_outputs(outputs.cells, OUTPUT_LIMIT)
        return raised

    def _score(self, session: Session, name: str, points: float, raised: bool) -> ExerciseScore:
        exercise = _checked(self._master, name)
        hidden = self._checks.get(exercise)
        if session.ended is not None:
            checks = [
                CheckResult(check.name, check.title, 0.0, check.points, session.ended)
                for check in hidden or []
            ]
            return ExerciseScore(exercise, name, 0.0, points, session.ended, tuple(checks))
        if not hidden:
            # A test cell written in JupyterLab, without hidden checks: nbgrader's own rule, passed unless it raised.
            message = "The cell's tests raised an error; its traceback is below." if raised else None
            earned = 0.0 if raised else points
            check = CheckResult("visible_tests", "The tests in this cell pass", earned, points, message)
            return ExerciseScore(exercise, name, earned, points, None, (check,))
        result = score_exercise(session, hidden, name, points, self._seed)
        if session.ended is not None:
            self.trouble = session.ended
            result = replace(result, reason=session.ended)
        return result


def _checked(master: NotebookNode, cell: str) -> str:
    """Return the exercise that a check cell checks: what the publisher noted, else what its name says."""
    noted = master.metadata.get("sparring", {}).get("checks", {})
    return str(noted.get(cell, cell.removeprefix(CHECK_PREFIX)))


def _untaken(job: Job, sha256: str, seed: Seed, began: datetime, reason: str) -> Graded:
    """Return the zero of a file that is no submission of this lesson, on the release's own notebook."""
    notebook = deepcopy(job.master)
    exercises, questions = [], []
    for cell in notebook.cells:
        data = cell.metadata.get("nbgrader") or {}
        if not data.get("grade") or "points" not in data:
            continue
        name, points = grade_id(cell) or "", float(data["points"])
        if is_solution(cell):
            questions.append(QuestionState(name, points, answered=False))
        else:
            result = ExerciseScore(_checked(job.master, name), name, 0.0, points, reason)
            exercises.append(result)
            cell.outputs = [feedback.check_output(result)]
    record = Record(
        lesson=job.lesson,
        student=job.student,
        submission_sha256=sha256,
        checks_sha256=checks_sha256(job.checks),
        wall="not run",
        seed_id=seed.id,
        started=began.isoformat(timespec="seconds"),
        seconds=0.0,
        exercises=tuple(exercises),
        questions=tuple(questions),
        trouble=reason,
    )
    return Graded(record, _with_banner(notebook, record))


def _with_banner(notebook: NotebookNode, record: Record) -> NotebookNode:
    cell = feedback.banner(record)
    if cell is not None:
        cell.id = "sparring-banner"
        notebook.cells.insert(0, cell)
    return notebook
