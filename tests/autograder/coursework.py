"""A course of one tiny lesson, and ways to hand in to it, for the tests of courses and grading."""

import json
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook as Registry

from sparring_grader.cli import main
from sparring_grader.course import Course, open_course

SOLUTIONS = Path(__file__).parent / "fixtures/solutions"
LESSON = "01_doubling_up"
RIGHT = "def double(x):\n    return x + x\n"
SQUARED = "def double(x):\n    return x * x\n"
HANDED_IN = "2026-03-02 17:00:00.000000 UTC"


def copy_of(course: Course, target: Path, *, without: tuple[str, ...] = ()) -> Course:
    """A course directory of a test's own: the gradebook lies in it, so a copy is a course."""
    shutil.copytree(course.directory, target, symlinks=True, ignore=shutil.ignore_patterns(*without))
    return open_course(target)


def hand_in(course: Course, student: str, work: str | bytes | None = None, answer: str | None = None) -> Path:
    """Put a submission into submitted/: the release with `work` as its exercise, or bytes as they are."""
    if not isinstance(work, bytes):
        notebook = nbformat.read(course.master(LESSON), as_version=4)
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name == "double" and work is not None:
                cell.source = work
            if name == "why-alone" and answer is not None:
                cell.source = answer
        work = json.dumps(notebook).encode()
    folder = course.submitted(LESSON, student)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{LESSON}.ipynb"
    path.write_bytes(work)
    (folder / "timestamp.txt").write_text(HANDED_IN)
    return path


def scores(course: Course, student: str) -> dict[str, tuple[float | None, float | None, bool]]:
    """What nbgrader reads in the gradebook: cell -> (automatic score, a person's score, waits for a person)."""
    with Registry(course.db_url, course.id) as registry:
        notebook = registry.find_submission_notebook(LESSON, LESSON, student)
        return {
            grade.name: (grade.auto_score, grade.manual_score, grade.needs_manual_grade)
            for grade in notebook.grades
        }


def mark_by_hand(course: Course, student: str, cell: str, points: float) -> None:
    """Give a mark as the formgrader does."""
    with Registry(course.db_url, course.id) as registry:
        grade = registry.find_grade(cell, LESSON, LESSON, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        registry.db.commit()


def sparring(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line as the user's shell does, in this process, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["sparring", *words])
    monkeypatch.setenv("COLUMNS", "200")
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def hostile(course: Course) -> dict[str, str]:
    """Hand in what is no notebook at all, in every way a folder allows; student -> what their feedback says."""

    def folder(student: str) -> Path:
        path = hand_in(course, student)
        path.unlink()
        return path

    folder("ghost")
    folder("renamed").with_name("homework.ipynb").write_bytes(b"{}")
    os.mkfifo(folder("pipe"))
    folder("link").symlink_to(course.directory / ".sparring" / "secret")
    folder("nest").mkdir()
    with folder("giant").open("wb") as file:
        file.truncate(200 << 20)
    folder("pdf").write_bytes(b"%PDF-1.7")
    folder("json").write_bytes(b'{"grade": "all of it"}')
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    folder("other").write_bytes(json.dumps(other).encode())
    return {
        "ghost": "there is no 01_doubling_up.ipynb", "renamed": "there are homework.ipynb; rename",
        "pipe": "no regular file", "link": "no regular file", "nest": "no regular file",
        "giant": "200 MiB, and the limit is 20 MiB", "pdf": "not JSON", "json": "no notebook",
        "other": "another lesson",
    }  # fmt: skip
