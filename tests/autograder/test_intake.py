"""Intake: what lies in submitted/ may be anything; reading it neither hangs nor follows it elsewhere."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from coursework import LESSON, hand_in, hostile

from sparring_grader import intake
from sparring_grader.errors import GraderError, SubmissionError
from sparring_grader.intake import HandedIn


def test_a_notebook_is_read_byte_for_byte(course):
    path = hand_in(course, "ada", b"\x00not even text\xff")
    assert intake.read(path.parent, LESSON) == b"\x00not even text\xff"


def test_whatever_stands_in_a_notebooks_place_is_told_to_its_learner(course):
    """A missing, renamed, linked, piped or huge file is refused at once, with what to do."""
    said = hostile(course)
    for student in ("ghost", "renamed", "pipe", "link", "nest", "giant"):
        with pytest.raises(SubmissionError, match=said[student]):
            intake.read(course.submitted(LESSON, student), LESSON)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_folder_that_is_none_is_told_to_its_learner(course, kind):
    folder = course.submitted(LESSON, "ada")
    folder.parent.mkdir(parents=True)
    folder.write_text("") if kind == "file" else folder.symlink_to(course.directory / "source" / LESSON)
    with pytest.raises(SubmissionError, match="no folder with"):
        intake.read(folder, LESSON)


def test_a_file_that_the_grader_may_not_read_is_no_fault_of_the_learner(course, monkeypatch):
    """It is no SubmissionError, which would cost the learner the marks."""
    folder = hand_in(course, "ada").parent

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        intake.read(folder, LESSON)


def test_submissions_are_found_in_order_and_odd_folders_are_named(course):
    """Files between the folders don't matter; a folder whose name can be no student's is left, and said so."""
    for student in ("zoë", "ada@example.org", "bob", "o'brien <b>", "-rf"):
        hand_in(course, student)
    (course.directory / "submitted" / "notes.txt").write_text("")
    (course.directory / "submitted" / "mallory").symlink_to(course.directory / "submitted" / "bob")
    found, left = intake.find(course, [LESSON])
    assert found == [HandedIn(LESSON, name) for name in ("ada@example.org", "bob", "zoë")]
    assert [line.split("'")[0] for line in left] == ["submitted/", "submitted/", 'submitted/"o']
    assert any("mallory" in line and "link" in line for line in left)
    assert intake.find(course, [LESSON], ["bob"])[0] == [HandedIn(LESSON, "bob")]
    assert intake.find(course, ["05_other"]) == ([], [])


@pytest.mark.parametrize(
    "student", ["", "../bob", "a/b", ".hidden", "-v", "*", "a b", "a\nb", "x" * 129, "a\u202eb"]
)
def test_an_odd_student_id_is_refused_with_what_may_be_in_one(course, student):
    with pytest.raises(GraderError, match="can't be used: take up to 128"):
        intake.find(course, [LESSON], [student])


def test_a_student_who_handed_in_nothing_is_named_with_the_nearest_who_did(course):
    hand_in(course, "charlotte")
    with pytest.raises(
        GraderError, match="charlote has not handed in 01_doubling_up; did you mean charlotte"
    ):
        intake.find(course, [LESSON], ["charlote"])
    with pytest.raises(GraderError, match="nbgrader collect"):
        intake.find(course, [LESSON], ["zed"])


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-02 17:00:00.000000 UTC", datetime(2026, 3, 2, 17)),
        ("2026-03-02T19:00:00+02:00", datetime(2026, 3, 2, 17)),
        ("yesterday", None),
        ("", None),
        ("2026-99-99 00:00:00 UTC", None),
        ("\u2460", None),
        ("9" * 5000, None),
    ],
)  # fmt: skip
def test_a_time_of_submission_that_makes_no_sense_is_unknown(tmp_path: Path, text, time):
    (tmp_path / "timestamp.txt").write_text(text)
    assert intake.submitted_at(tmp_path) == time


def test_a_time_of_submission_that_is_no_file_is_unknown(tmp_path: Path):
    assert intake.submitted_at(tmp_path) is None
    os.mkfifo(tmp_path / "timestamp.txt")
    assert intake.submitted_at(tmp_path) is None
