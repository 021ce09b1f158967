"""The demo's class: one submission for each thing that can happen, and the marks that each must get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nbformat import NotebookNode, v4

from demo.cheats import CHEATS, cheated
from sparring_grader.checks import Alternative, Mistake
from sparring_grader.lesson import Lesson
from sparring_grader.record import Record

Marks = dict[str, float]


STUDENTS = [
    "ada",
    "amir",
    "anya",
    "bao",
    "bela",
    "carlos",
    "chen",
    "dana",
    "dmitri",
    "elif",
    "emeka",
    "fatima",
    "finn",
    "grace",
    "hana",
    "hugo",
    "ines",
    "ivan",
    "jana",
    "jun",
    "kofi",
    "lars",
    "leila",
    "luca",
    "mai",
    "marta",
    "mei",
    "nadia",
    "nils",
    "noor",
    "olga",
    "omar",
    "paula",
    "priya",
    "quinn",
    "rosa",
    "sami",
    "sara",
    "tariq",
    "uma",
    "vera",
    "viktor",
    "wanda",
    "xu",
    "yara",
    "yusuf",
    "zoe",
]


@dataclass(frozen=True)
class HandedIn:
    """What one student hands in for one lesson, and what must come of it.

    `exact` are the points that exercises must get; `loses` are exercises that must get less than all of their
    points, each with what must stand in the messages of its hidden checks; `says` must stand in the reason for
    what broke; `answered` says whether the question for a person has an answer.
    """

    student: str
    lesson: str
    what: str
    data: bytes
    exact: Marks = field(default_factory=dict)
    loses: dict[str, str] = field(default_factory=dict)
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


def as_bytes(notebook: NotebookNode) -> bytes:
    """Return a notebook as the file that a learner would hand in."""
    return json.dumps(notebook).encode()


def hand_in(materials: list[Material]) -> list[HandedIn]:
    """Return the whole class: in each lesson, the first student hands in the reference, the next other right answers.

    Trouble and cheats are handed in for the first lesson only; what they do does not depend on the lesson.
    """
    handed = []
    for place, material in enumerate(materials):
        submissions = [
            *_work(material),
            *(_trouble(material) if place == 0 else ()),
            *(_cheats(material) if place == 0 else ()),
        ]
        handed += [make(student) for student, make in zip(STUDENTS, submissions, strict=False)]
        assert len(submissions) <= len(STUDENTS), (
            f"{len(submissions)} submissions and {len(STUDENTS)} students"
        )
    return handed


Make = Callable[[str], HandedIn]


def _make(material: Material, what: str, work: NotebookNode | bytes, **must: Any) -> Make:
    data = work if isinstance(work, bytes) else as_bytes(work)
    return lambda student: HandedIn(student, material.lesson.id, what, data, **must)


def _work(material: Material) -> Iterator[Make]:
    """What learners do: all right, right in another way, each known mistake, nothing at all."""
    points = material.points
    answered = material.with_answers(*points)
    for cell in answered.cells:
        data = cell.metadata.get("nbgrader", {})
        if data.get("grade") and data.get("solution"):
            cell.source = "My answer, in words, for a person to read."
    yield _make(material, "the reference", answered, exact=points, answered=True)
    for number, chosen in enumerate(_rounds(material.alternatives), start=1):
        work = material.with_answers(*points, **{name: item.source for name, item in chosen.items()})
        yield _make(material, f"right in another way ({number})", work, exact=points)
    for number, wrong_answers in enumerate(_rounds(material.mistakes), start=1):
        work = material.with_answers(*points, **{name: item.source for name, item in wrong_answers.items()})
        exact = {name: value for name, value in points.items() if name not in wrong_answers}
        loses = {name: item.message for name, item in wrong_answers.items()}
        yield _make(
            material,
            f"mistakes in {len(loses)} of the exercises ({number})",
            work,
            exact=exact,
            loses=loses,
        )
    yield _make(material, "the untouched release", material.release, exact=dict.fromkeys(points, 0.0))


Item = TypeVar("Item", Mistake, Alternative)


def _rounds(items: list[Item]) -> Iterator[dict[str, Item]]:
    """Deal the items out into rounds with one of each exercise, until all have been dealt."""
    left = list(items)
    while left:
        dealt: dict[str, Item] = {}
        for item in left:
            dealt.setdefault(item.exercise, item)
        left = [item for item in left if dealt[item.exercise] is not item]
        yield dealt


def _cheats(material: Material) -> Iterator[Make]:
    """The first exercise solved, and a cheat on top of it."""
    first = next(iter(material.points))
    exact = {**dict.fromkeys(material.points, 0.0), first: material.points[first]}
    for cheat in CHEATS:
        what = f"a cheat: {cheat.name.replace('_', ' ')}"
        yield _make(material, what, cheated(material.with_answers(first), cheat), exact=exact)


def _trouble(material: Material) -> Iterator[Make]:
    """What breaks: files that are none, a crash, a loop, too much memory."""
    points = material.points
    nothing = dict.fromkeys(points, 0.0)
    first, second = list(points)[:2]
    yield _make(material, "a broken file", b'{"cells": [', exact=nothing, says="not JSON")
    yield _make(
        material, "no notebook", b'{"grade": "all points, please"}', exact=nothing, says="no notebook"
    )
    crash = material.with_answers(*points)
    _before(crash, f"check-{second}", "import os\nos.abort()")
    yield _make(material, "a crash", crash, exact={**nothing, first: points[first]}, says="SIGABRT")
    loop = material.with_answers(*points)
    _before(loop, second, "while True:\n    pass")
    yield _make(material, "an endless loop", loop, exact=points)
    source = next(exercise.cell.source for exercise in material.lesson.exercises if exercise.name == second)
    hog = "hoard = []\nwhile True:\n    hoard.append(bytearray(256 << 20))\n" + source
    work = material.with_answers(*points, **{second: hog})
    yield _make(material, "a memory hog", work, exact={**points, second: 0.0})


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
    for name, message in handed.loses.items():
        if got[name].earned >= got[name].points:
            faults.append(f"{name} lost no points")
        said = " ".join(check.message or "" for check in got[name].checks)
        if message not in said:
            faults.append(f"the feedback on {name} does not say {message!r}; it says {said[:200]!r}")
    if handed.says is not None and handed.says not in (record.trouble or ""):
        faults.append(f"the feedback does not say {handed.says!r}; it says {record.trouble!r}")
    if handed.answered != any(question.answered for question in record.questions):
        faults.append(f"a question counts as {'not ' if handed.answered else ''}answered")
    return faults
