"""What grading leaves behind about one submission: plain data, written as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class CheckResult:
    """One hidden check's outcome; `message` is what the learner reads, None if it passed."""

    name: str
    title: str
    earned: float
    points: float
    message: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the property held."""
        return self.message is None


@dataclass(frozen=True)
class ExerciseScore:
    """The marks of one exercise; `reason` says why its checks could not run, None if they ran."""

    exercise: str
    cell: str
    earned: float
    points: float
    reason: str | None = None
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True)
class QuestionState:
    """A question that a person marks, and whether the learner changed the release's text at all."""

    cell: str
    points: float
    answered: bool


@dataclass(frozen=True)
class Record:
    """Everything that is kept about one graded submission.

    `wall` is the isolation it ran behind, such as "bubblewrap 0.8.0", or "none"; `seed_id` names the seed of the
    fresh inputs without revealing it; `trouble` says what broke; `notes` say what the rebuild put right.
    """

    lesson: str
    student: str
    submission_sha256: str
    checks_sha256: str
    wall: str
    seed_id: str
    started: str
    seconds: float
    exercises: tuple[ExerciseScore, ...] = ()
    questions: tuple[QuestionState, ...] = ()
    notes: tuple[str, ...] = ()
    trouble: str | None = None
    format: int = field(default=FORMAT)

    @property
    def earned(self) -> float:
        """The points that the hidden checks gave."""
        return sum(exercise.earned for exercise in self.exercises)

    @property
    def points(self) -> float:
        """The points that the hidden checks could give."""
        return sum(exercise.points for exercise in self.exercises)

    def to_json(self) -> str:
        """Return the record as JSON text that `from_json` reads back equal."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote; raises ValueError for another format."""
        data: dict[str, Any] = json.loads(text)
        if data.get("format") != FORMAT:
            raise ValueError(
                f"record format {data.get('format')!r} is not {FORMAT}; grade the submission again"
            )
        exercises = tuple(
            ExerciseScore(**{**item, "checks": tuple(CheckResult(**check) for check in item["checks"])})
            for item in data.pop("exercises")
        )
        questions = tuple(QuestionState(**item) for item in data.pop("questions"))
        return cls(**{**data, "exercises": exercises, "questions": questions, "notes": tuple(data["notes"])})
