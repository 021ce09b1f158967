"""The demo's class: one submission for each thing that can happen, and the marks that each must get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

from nbformat import NotebookNode, v4

from demo.cheats import CHEATS, cheated
from sparring_grader.checks import Alternative, Mistake
from sparring_grader.lesson import Lesson
from sparring_grader.record import Record

Marks = dict[str, float]


@dataclass(frozen=True)
class HandedIn:
    """What one student hands in for one lesson, and what must come of it.

    `exact` are the points that each exercise must get; `loses` is an exercise that must get less than all of its
    points; `says` must stand in the feedback: in that exercise's messages, or in the reason for what broke.
    """

    student: str
    lesson: str
    what: str
    data: bytes
    exact: Marks = field(default_factory=dict)
    loses: str | None = None
    says: str | None = None
    answered: bool = False


@dataclass(frozen=True)
class Material:
    """A lesson as the class uses it: the release as fetched, the reference's answers, the known wrong and right ones."""

    lesson: Lesson
    release: NotebookNode
    mistakes: list[Mistake]
    alternatives: list[Alternative]

    @property
    def points(self) -> Marks:
        """The points of each exercise."""
        return {exercise.name: exercise.points for exercise in self.lesson.exercises}

    def with_answers(self, *names: str, **other: str) -> NotebookNode:
        """Return the release with these exercises answered as in the reference, and others by the given source."""
        answers = {
            exercise.name: exercise.cell.source
            for exercise in self.lesson.exercises
            if exercise.name in names
        }
        answers |= other
        work = deepcopy(self.release)
        for cell in work.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in answers:
                cell.source = answers[name]
        return work

    def all_but(self, name: str, source: str) -> NotebookNode:
        """Return the reference with one exercise's answer replaced."""
        return self.with_answers(*(set(self.points) - {name}), **{name: source})


def as_bytes(notebook: NotebookNode) -> bytes:
    """Return a notebook as the file that a learner would hand in."""
    return json.dumps(notebook).encode()


def hand_in(materials: list[Material]) -> list[HandedIn]:
    """Return the whole class, students numbered within each lesson."""
    handed = []
    for material in materials:
        number = int(material.lesson.id[:2])
        for index, (what, make) in enumerate(_submissions(material)):
            handed.append(make(f"s{number:02d}-{index:02d}-{what[:24].strip('_-')}", what))
    return handed


Make = Callable[[str, str], HandedIn]


def _submissions(material: Material) -> Iterator[tuple[str, Make]]:
    lesson, points = material.lesson.id, material.points
    names = list(points)
    nothing = dict.fromkeys(names, 0.0)

    def make(data: bytes | NotebookNode, exact: Marks, **more: object) -> Make:
        content = data if isinstance(data, bytes) else as_bytes(data)
        return lambda student, what: HandedIn(student, lesson, what, content, exact, **more)  # type: ignore[arg-type]

    answered = material.with_answers(*names)
    for cell in answered.cells:
        data = cell.metadata.get("nbgrader", {})
        if data.get("grade") and data.get("solution"):
            cell.source = "My answer, in words, for a person to read."
    yield "reference", make(answered, points, answered=True)
    chosen: dict[str, str] = {}
    for alternative in material.alternatives:
        chosen.setdefault(alternative.exercise, alternative.source)
    others = set(names) - set(chosen)
    yield "other-shapes", make(material.with_answers(*others, **chosen), points)
    for mistake in material.mistakes:
        work = material.all_but(mistake.exercise, mistake.source)
        yield mistake.name, make(work, {}, loses=mistake.exercise, says=mistake.message)
    yield "untouched", make(material.release, nothing)
    if material is None or number_of(lesson) != 1:
        return
    yield from _trouble(material, make, nothing)
    for cheat in CHEATS:
        exact = {**nothing, names[0]: points[names[0]]}
        yield cheat.name, make(cheated(material.with_answers(names[0]), cheat), exact)


def number_of(lesson: str) -> int:
    """Return a lesson's number."""
    return int(lesson[:2])


def _trouble(material: Material, make: Callable[..., Make], nothing: Marks) -> Iterator[tuple[str, Make]]:
    points = material.points
    names = list(points)
    first, second = names[0], names[1]
    solved = dict(points)
    yield "broken-file", make(b'{"cells": [', nothing, says="not JSON")
    yield "no-notebook", make(b'{"grade": "all points, please"}', nothing, says="no notebook")
    crash = material.with_answers(*names)
    _before(crash, f"check-{second}", "import os\nos.abort()")
    yield "crash", make(crash, {**nothing, first: points[first]}, says="SIGABRT")
    loop = material.with_answers(*names)
    _before(loop, second, "while True:\n    pass")
    yield "endless-loop", make(loop, solved)
    source = next(e.cell.source for e in material.lesson.exercises if e.name == second)
    hog = material.all_but(
        second, "hoard = []\nwhile True:\n    hoard.append(bytearray(256 << 20))\n" + source
    )
    yield "memory-hog", make(hog, {**solved, second: 0.0}, says=None)


def _before(notebook: NotebookNode, name: str, source: str) -> None:
    """Put a cell of the learner's before the cell of this grade id."""
    for index, cell in enumerate(notebook.cells):
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name:
            notebook.cells.insert(index, v4.new_code_cell(source))
            return
    raise ValueError(f"no cell {name!r} in the notebook")


def wrong(handed: HandedIn, record: Record) -> list[str]:
    """Return what is not as it should be about a graded submission, in words; empty if all is well."""
    got = {exercise.exercise: exercise for exercise in record.exercises}
    faults = [
        f"{name} got {got[name].earned:g} points instead of {points:g}"
        for name, points in handed.exact.items()
        if abs(got[name].earned - points) > 1e-9
    ]
    texts = [record.trouble or ""]
    if handed.loses is not None:
        exercise = got[handed.loses]
        if exercise.earned >= exercise.points:
            faults.append(f"{handed.loses} lost no points")
        texts = [check.message or "" for check in exercise.checks]
    if handed.says is not None and not any(handed.says in text for text in texts):
        faults.append(f"the feedback does not say {handed.says!r}; it says {' '.join(texts)[:300]!r}")
    if handed.answered != any(question.answered for question in record.questions):
        faults.append(f"a question counts as {'not ' if handed.answered else ''}answered")
    return faults
