"""Collecting: what learners put into the exchange is taken, what they only point at is not."""

import os

import pytest
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from sparring_grader.collecting import Collect


@pytest.fixture
def collect(tmp_path):
    return Collect(coursedir=CourseDirectory(config=Config()), config=Config()).do_copy


def test_files_and_folders_are_taken(collect, tmp_path):
    handed = tmp_path / "inbound"
    (handed / "figures").mkdir(parents=True)
    (handed / "01.ipynb").write_text("{}")
    (handed / "figures" / "a.txt").write_text("a")
    collect(str(handed), str(tmp_path / "submitted"))
    assert (tmp_path / "submitted" / "01.ipynb").read_text() == "{}"
    assert (tmp_path / "submitted" / "figures" / "a.txt").read_text() == "a"


def test_a_link_to_a_classmates_work_or_to_the_checks_brings_nothing(collect, tmp_path):
    secret = tmp_path / "alice.ipynb"
    secret.write_text("her work")
    handed = tmp_path / "inbound"
    handed.mkdir()
    (handed / "01.ipynb").symlink_to(secret)
    (handed / "lessons").symlink_to(tmp_path)
    collect(str(handed), str(tmp_path / "submitted"))
    assert list((tmp_path / "submitted").iterdir()) == []


def test_a_submission_that_is_itself_a_link_brings_nothing(collect, tmp_path):
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "01.ipynb").write_text("her work")
    (tmp_path / "inbound").symlink_to(tmp_path / "alice")
    collect(str(tmp_path / "inbound"), str(tmp_path / "submitted"))
    assert list((tmp_path / "submitted").iterdir()) == []


def test_a_fifo_does_not_hang_the_collecting(collect, tmp_path):
    handed = tmp_path / "inbound"
    handed.mkdir()
    os.mkfifo(handed / "01.ipynb")
    (handed / "other.txt").write_text("taken")
    collect(str(handed), str(tmp_path / "submitted"))
    assert [path.name for path in (tmp_path / "submitted").iterdir()] == ["other.txt"]
