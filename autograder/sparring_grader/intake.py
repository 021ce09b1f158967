"""What was handed in: whose it is, and its bytes, which may be anything under the name of a notebook."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sparring_grader.course import Course
from sparring_grader.errors import GraderError, SubmissionError
from sparring_grader.submission import MAX_BYTES

# What nbgrader's exchange lays beside a notebook; its times and feedback go by them.
STAMPS = ("timestamp.txt", "submission_secret.txt")

# An id becomes a folder's name, a part of globs, and a key of 128 characters in the gradebook.
_STUDENT_ID = re.compile(r"\w[\w.@+-]{0,127}")
_RULE = "up to 128 letters, digits, '_', '.', '@', '+' and '-', beginning with a letter, a digit or '_'"


@dataclass(frozen=True)
class HandedIn:
    """One learner's submission of one lesson."""

    lesson: str
    student: str


def check_student(student: str) -> str:
    """Return the id of a student; raises GraderError where it can be none."""
    if not _STUDENT_ID.fullmatch(student):
        raise GraderError(f"the student id {student[:80]!r} can't be used: take {_RULE}")
    return student


def find(
    course: Course, lessons: Collection[str], students: Sequence[str] = ()
) -> tuple[list[HandedIn], list[str]]:
    """Return the submissions of these lessons, and what in submitted/ can't be graded, with its remedy.

    Raises:
        GraderError: a student id is odd, or that student handed in none of these lessons.
    """
    for student in students:
        check_student(student)
    base = course.directory / "submitted"
    found: list[HandedIn] = []
    left: list[str] = []
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        if students and folder.name not in students:
            continue
        mine = [lesson for lesson in lessons if os.path.lexists(folder / lesson)]
        if not mine:
            continue
        if folder.is_symlink():
            left.append(f"submitted/{folder.name!r} is a link to elsewhere; put a folder there")
        elif not _STUDENT_ID.fullmatch(folder.name):
            left.append(
                f"submitted/{folder.name!r} is not named like a student; rename it to that student's id: {_RULE}"
            )
        else:
            found += [HandedIn(lesson, folder.name) for lesson in mine]
    for student in students:
        if not any(item.student == student for item in found) and not left:
            near = difflib.get_close_matches(student, [item.name for item in base.iterdir()], n=1)
            remedy = f"did you mean {near[0]}?" if near else "bring submissions in with `nbgrader collect`"
            raise GraderError(f"{student} has not handed in {', '.join(lessons)}; {remedy}")
    return sorted(found, key=lambda item: (item.lesson, item.student)), left


def read(folder: Path, lesson: str) -> bytes:
    """Return the bytes of the notebook in a submission's folder, of which nothing is trusted.

    Raises:
        SubmissionError: there is none of this name, it is no regular file, or it is too large.
        OSError: it can't be read, which is no fault of the learner's.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise SubmissionError(
            f"what was handed in is no folder with {lesson}.ipynb in it; hand the lesson in again"
        )
    path = folder / f"{lesson}.ipynb"
    try:
        # A FIFO would hang an open that waits, and a link could name any file of the grader's.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        others = sorted(item.name for item in folder.glob("*.ipynb"))[:3]
        there = f"there are {', '.join(others)}; rename the right one" if others else "hand it in again"
        raise SubmissionError(f"there is no {lesson}.ipynb in what was handed in; {there}") from None
    except OSError as error:
        if path.is_symlink() or not path.is_file():
            raise SubmissionError(
                f"{lesson}.ipynb is no regular file; hand in the notebook itself, not a link or a device"
            ) from error
        raise
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise SubmissionError(
            f"{lesson}.ipynb is no regular file; hand in the notebook itself, not a folder or a device"
        )
    with os.fdopen(descriptor, "rb") as file:
        if about.st_size > MAX_BYTES:
            raise SubmissionError(
                f"{lesson}.ipynb has {about.st_size / (1 << 20):.0f} MiB, and the limit is {MAX_BYTES >> 20} MiB; "
                "clear its outputs and hand it in again"
            )
        return file.read(MAX_BYTES + 1)


def stamp(folder: Path, name: str) -> str | None:
    """Return one of the small texts that nbgrader lays beside a notebook; None if there is none that makes sense."""
    path = folder / name
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1000:
            return None
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def submitted_at(folder: Path) -> datetime | None:
    """Return when a submission was handed in, in UTC without a zone as nbgrader has it; None if that is unknown."""
    from nbgrader.utils import parse_utc

    text = stamp(folder, "timestamp.txt")
    try:
        return None if text is None else parse_utc(text)
    except (ValueError, OverflowError):
        return None
