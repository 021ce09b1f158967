"""What a report says, as plain data, and how records and the gradebook's marks are summed up into it."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sparring_grader.record import CheckResult, ExerciseScore, Record

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_UNWRITTEN = "NotImplementedError"
_CHECK = "check-"  # what the grade ids of check cells begin with


@dataclass(frozen=True)
class Grade:
    """One cell's mark as it stands in the gradebook: `by_hand` when a person gave it, `waiting` when one has to."""

    cell: str
    earned: float
    points: float
    waiting: bool = False
    by_hand: bool = False


class Level(StrEnum):
    """How much of a cell's points was earned; the word is shown to those who don't see the color."""

    FULL = "full"
    PART = "part"
    NONE = "none"
    WAITING = "waiting"


@dataclass(frozen=True)
class Mark:
    """One field of the table of marks."""

    text: str
    sort: float
    level: Level
    by_hand: bool = False


@dataclass(frozen=True)
class Column:
    """One exercise or question of the table of marks; `average` is over those who handed in, None if all wait."""

    cell: str
    label: str
    points: float
    question: bool
    average: float | None


@dataclass(frozen=True)
class Row:
    """One learner's marks in a lesson, in the order of the columns."""

    student: str
    marks: tuple[Mark, ...]
    earned: float
    points: float
    waiting: bool
    broke: bool
    noted: bool

    @property
    def percent(self) -> float:
        """The share of all points, in percent."""
        return 100 * self.earned / self.points if self.points else 0.0


@dataclass(frozen=True)
class Message:
    """What learners read, and who they are; messages that differ in numbers only count as one."""

    text: str
    students: tuple[str, ...]


@dataclass(frozen=True)
class FailedCheck:
    """How a hidden check went for the class: failed by so many of those for whom it could run."""

    exercise: str
    title: str
    failed: int
    judged: int
    messages: tuple[Message, ...]

    @property
    def percent(self) -> float:
        """The share of those who failed it, in percent."""
        return 100 * self.failed / self.judged if self.judged else 0.0


@dataclass(frozen=True)
class Misunderstanding:
    """A message that many learners read, with the lesson and the exercise it belongs to."""

    lesson: str
    exercise: str
    message: Message
    of: int


@dataclass(frozen=True)
class Waiting:
    """A question of a lesson that a person has to mark, and whose answers wait."""

    lesson: str
    question: str
    points: float
    students: tuple[str, ...]


@dataclass(frozen=True)
class Remark:
    """Something to know about one learner's submission: what broke, or what the rebuild noted."""

    lesson: str
    student: str
    where: str
    text: str


@dataclass(frozen=True)
class Provenance:
    """How a lesson's submissions were graded, so that a mark can be traced."""

    walls: tuple[tuple[str, int], ...]
    checks: tuple[str, ...]
    first: str
    last: str
    seconds: float
    slowest: float


@dataclass(frozen=True)
class LessonReport:
    """All that the page says about one lesson."""

    lesson: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    absent: tuple[str, ...]
    failures: tuple[FailedCheck, ...]
    unwritten: tuple[tuple[str, int], ...]
    misunderstandings: tuple[Misunderstanding, ...]
    waiting: tuple[Waiting, ...]
    broken: tuple[Remark, ...]
    notes: tuple[Remark, ...]
    unwalled: tuple[str, ...]
    unrecorded: tuple[str, ...]
    provenance: Provenance | None

    @property
    def points(self) -> float:
        """The points of the lesson, questions included."""
        return sum(column.points for column in self.columns)

    @property
    def median(self) -> float | None:
        """The median of the learners' shares of the points, in percent; None when nobody handed in."""
        return statistics.median(row.percent for row in self.rows) if self.rows else None


@dataclass(frozen=True)
class Report:
    """A whole page: the lessons of one course, at one moment."""

    course: str
    made: str
    students: tuple[str, ...]
    lessons: tuple[LessonReport, ...]

    @property
    def misunderstandings(self) -> list[Misunderstanding]:
        """What the class misunderstood, the most frequent first."""
        found = [item for lesson in self.lessons for item in lesson.misunderstandings]
        return sorted(found, key=lambda item: -len(item.message.students))

    def remarks(self, kind: str) -> list[Remark]:
        """Return what broke ("broken") or what was noted ("notes") over all lessons."""
        return [remark for lesson in self.lessons for remark in getattr(lesson, kind)]


def summarize(
    lesson: str,
    records: Iterable[Record],
    grades: Mapping[str, Sequence[Grade]],
    students: Iterable[str] = (),
) -> LessonReport:
    """Sum up a lesson from its records and, per learner, the gradebook's grades in the order of the notebook.

    Marks are the gradebook's alone, so that the page and the gradebook never disagree; the records say why. A learner
    of `students` without grades has not handed in.
    """
    known = {record.student: record for record in sorted(records, key=lambda record: record.student)}
    columns = _columns(known.values(), grades)
    rows = tuple(_row(student, grades[student], columns, known.get(student)) for student in sorted(grades))
    run = [record for record in known.values() if record.student in grades]
    return LessonReport(
        lesson=lesson,
        columns=columns,
        rows=rows,
        absent=tuple(sorted(set(students) - set(grades))),
        failures=_failures(run),
        unwritten=_unwritten(run),
        misunderstandings=_misunderstandings(lesson, run),
        waiting=_waiting(lesson, columns, grades),
        broken=tuple(remark for record in known.values() for remark in _broken(record)),
        notes=tuple(
            Remark(lesson, record.student, "", note) for record in known.values() for note in record.notes
        ),
        unwalled=tuple(record.student for record in known.values() if record.wall == "none"),
        unrecorded=tuple(sorted(set(known) ^ set(grades))),
        provenance=_provenance(list(known.values())),
    )


def _columns(records: Iterable[Record], grades: Mapping[str, Sequence[Grade]]) -> tuple[Column, ...]:
    exercises: dict[str, str] = {}
    for record in records:
        exercises.update((exercise.cell, exercise.exercise) for exercise in record.exercises)
    points = {grade.cell: grade.points for one in grades.values() for grade in one}
    by_cell = defaultdict(list)
    for one in grades.values():
        for grade in one:
            if not grade.waiting:
                by_cell[grade.cell].append(grade.earned)
    return tuple(
        Column(
            cell=cell,
            label=exercises.get(cell, cell.removeprefix(_CHECK)),
            points=points[cell],
            question=cell not in exercises and not cell.startswith(_CHECK),
            average=statistics.fmean(by_cell[cell]) if by_cell[cell] else None,
        )
        for cell in points
    )


def _row(student: str, grades: Sequence[Grade], columns: Sequence[Column], record: Record | None) -> Row:
    found = {grade.cell: grade for grade in grades}
    return Row(
        student=student,
        marks=tuple(_mark(found.get(column.cell)) for column in columns),
        earned=sum(grade.earned for grade in grades),
        points=sum(grade.points for grade in grades),
        waiting=any(grade.waiting for grade in grades),
        broke=record is not None and bool(_broken(record)),
        noted=record is not None and bool(record.notes),
    )


def _mark(grade: Grade | None) -> Mark:
    if grade is None:
        return Mark("–", -2, Level.NONE)
    if grade.waiting:
        return Mark("waits", -1, Level.WAITING)
    level = Level.PART if grade.earned > 0 else Level.NONE
    if grade.earned >= grade.points:
        level = Level.FULL
    return Mark(f"{round(grade.earned, 2):g}", grade.earned, level, grade.by_hand)


def _judged(exercise: ExerciseScore) -> list[CheckResult]:
    """Return the checks that judged an answer.

    One that failed for its exercise's own reason was never put to the learner's code, and an exercise that was left
    as released says nothing about what its learner understood.
    """
    return [
        check
        for check in exercise.checks
        if check.message is None or (check.message != exercise.reason and _UNWRITTEN not in check.message)
    ]


def _failures(records: Sequence[Record]) -> tuple[FailedCheck, ...]:
    judged: Counter[tuple[str, str]] = Counter()
    titles: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for record in records:
        for exercise in record.exercises:
            for check in _judged(exercise):
                key = (exercise.exercise, check.name)
                titles[key] = check.title
                judged[key] += 1
                if check.message is not None:
                    failed[key].append((record.student, check.message))
    found = [
        FailedCheck(key[0], title, len(failed[key]), judged[key], _grouped(failed[key]))
        for key, title in titles.items()
    ]
    return tuple(sorted(found, key=lambda check: -check.percent))


def _grouped(said: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """Group (student, message) by message, numbers aside; each group is shown by its most frequent wording."""
    texts: dict[str, Counter[str]] = defaultdict(Counter)
    students: dict[str, list[str]] = defaultdict(list)
    for student, message in said:
        key = _NUMBER.sub("#", message)
        texts[key][message] += 1
        if student not in students[key]:
            students[key].append(student)
    groups = [Message(texts[key].most_common(1)[0][0], tuple(students[key])) for key in texts]
    return tuple(sorted(groups, key=lambda message: -len(message.students)))


def _unwritten(records: Sequence[Record]) -> tuple[tuple[str, int], ...]:
    """Return per exercise how many learners left it as it was released."""
    count = Counter(
        exercise.exercise
        for record in records
        for exercise in record.exercises
        if any(_UNWRITTEN in (check.message or "") for check in exercise.checks)
    )
    return tuple(count.most_common())


def _misunderstandings(lesson: str, records: Sequence[Record]) -> tuple[Misunderstanding, ...]:
    said: dict[str, list[tuple[str, str]]] = defaultdict(list)
    judged: Counter[str] = Counter()
    for record in records:
        for exercise in record.exercises:
            checks = _judged(exercise)
            judged[exercise.exercise] += bool(checks)
            said[exercise.exercise] += [
                (record.student, check.message) for check in checks if check.message is not None
            ]
    found = [
        Misunderstanding(lesson, exercise, message, judged[exercise])
        for exercise, messages in said.items()
        for message in _grouped(messages)
    ]
    return tuple(sorted(found, key=lambda item: -len(item.message.students)))


def _waiting(
    lesson: str, columns: Sequence[Column], grades: Mapping[str, Sequence[Grade]]
) -> tuple[Waiting, ...]:
    students: dict[str, list[str]] = defaultdict(list)
    for student in sorted(grades):
        for grade in grades[student]:
            if grade.waiting:
                students[grade.cell].append(student)
    return tuple(
        Waiting(lesson, column.label, column.points, tuple(students[column.cell]))
        for column in columns
        if column.cell in students
    )


def _broken(record: Record) -> list[Remark]:
    """Return what broke in a submission: the whole of it, and exercises that could not run for another reason."""
    remarks = []
    if record.trouble is not None:
        remarks.append(Remark(record.lesson, record.student, "the notebook", record.trouble))
    remarks += [
        Remark(record.lesson, record.student, exercise.exercise, exercise.reason)
        for exercise in record.exercises
        if exercise.reason is not None and exercise.reason != record.trouble
    ]
    return remarks


def _provenance(records: Sequence[Record]) -> Provenance | None:
    if not records:
        return None
    started = sorted(record.started for record in records)
    seconds = [record.seconds for record in records]
    return Provenance(
        walls=tuple(Counter(record.wall for record in records).most_common()),
        checks=tuple(sorted({record.checks_sha256 for record in records})),
        first=started[0],
        last=started[-1],
        seconds=statistics.median(seconds),
        slowest=max(seconds),
    )
