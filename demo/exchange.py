"""Hands a class in through nbgrader's own exchange, as learners and instructors do with its commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import ExchangeFactory
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from demo.classroom import HandedIn, Material
from sparring_grader import solutions
from sparring_grader.checks import load_mistakes


def release(course: Path, lessons: Iterable[str]) -> None:
    """Put assignments into the exchange: `nbgrader release_assignment`."""
    for lesson in lessons:
        _run(course, "ReleaseAssignment", lesson)


def submit(course: Path, handed: list[HandedIn]) -> None:
    """Hand in each student's file: `nbgrader submit`, run in a folder of the student's own."""
    with tempfile.TemporaryDirectory(prefix="sparring-learners-") as homes:
        for one in handed:
            folder = Path(homes, one.student, one.lesson)
            folder.mkdir(parents=True)
            (folder / f"{one.lesson}.ipynb").write_bytes(one.data)
            _run(
                course,
                "Submit",
                one.lesson,
                student=one.student,
                assignments=folder.parent,
                cache=Path(homes, "cache"),
            )


def collect(course: Path, lesson: str) -> None:
    """Bring what was handed in into the course: `nbgrader collect`."""
    _run(course, "Collect", lesson)


def materials(course: Path, lessons: Iterable[str]) -> list[Material]:
    """Return the lessons as the class uses them: releases as the exchange gives them out."""
    config = _config(course)
    outbound = Path(config.Exchange.root) / config.CourseDirectory.course_id / "outbound"
    found = []
    for lesson in lessons:
        mistakes, alternatives = load_mistakes(course / "lessons" / lesson / "mistakes.py")
        notebook = nbformat.read(outbound / lesson / f"{lesson}.ipynb", as_version=4)
        found.append(Material(solutions.load(course / "lessons", lesson), notebook, mistakes, alternatives))
    return found


def _config(course: Path) -> Config:
    return PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()


def _run(
    course: Path,
    step: str,
    lesson: str,
    student: str | None = None,
    assignments: Path | None = None,
    cache: Path | None = None,
) -> None:
    config = _config(course)
    config.CourseDirectory.assignment_id = lesson
    if student is not None:
        config.CourseDirectory.student_id = student
        config.Exchange.assignment_dir = str(assignments)
        config.Exchange.cache = str(cache)
    # Everybody's files belong to one user here, which collecting would report for each of them.
    config.ExchangeCollect.check_owner = False
    factory = ExchangeFactory(config=config)
    from nbgrader.auth import Authenticator

    part: Any = getattr(factory, step)(
        coursedir=CourseDirectory(config=config), authenticator=Authenticator(config=config), config=config
    )
    part.log.setLevel("WARNING")
    part.start()
