"""The feedback page: nbgrader's own, with the gradebook's marks, in which no learner's script can run."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbgrader.api import Gradebook

from sparring_grader import feedback
from sparring_grader.errors import CourseError
from sparring_grader.feedback_page import CONFIG, write_feedback
from sparring_grader.record import CheckResult, ExerciseScore, Record

LESSON = "01_doubling"
HOSTILE = """# Why <img src=x onerror=alert(1)>

<script>alert(2)</script><iframe src="https://evil.example"></iframe><svg onload="alert(3)"></svg>
<a href="javascript:alert(4)">a</a> [b](javascript:alert(5)) [c](data:text/html,<script>alert(6)</script>)
<form action="https://evil.example"><input name="q"></form>

![seen](https://evil.example/pixel.png)

<div id="check-double" class="score" style="position: fixed; color: red" onclick="alert(7)">hello</div>

- *kept* `a < b`, **bold** and $x<y$
"""


@pytest.fixture(scope="module")
def course(doubling, tmp_path_factory) -> Path:
    """A course directory with one graded, hostile submission, and its marks in a gradebook."""
    root = tmp_path_factory.mktemp("course")
    lines = ["c = get_config()", "c.CourseDirectory.course_id = 'course'"]
    lines += [f"c.HTMLExporter.{name} = {value!r}" for name, value in CONFIG["HTMLExporter"].items()]
    (root / "nbgrader_config.py").write_text("\n".join(lines))
    notebook = doubling.solved()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        gradebook = Gradebook(f"sqlite:///{root / 'gradebook.db'}", course_id="course")
    with gradebook:
        gradebook.add_student("ann")
        gradebook.add_assignment(LESSON)
        gradebook.add_notebook(LESSON, LESSON)
        graded = [cell for cell in notebook.cells if cell.metadata.get("nbgrader")]
        for cell in graded:
            data = cell.metadata.nbgrader
            if data.grade:
                gradebook.add_grade_cell(
                    data.grade_id, LESSON, LESSON, max_score=data.points, cell_type=cell.cell_type
                )
            if data.solution:
                gradebook.add_solution_cell(data.grade_id, LESSON, LESSON)
        gradebook.add_submission(LESSON, "ann")
        gradebook.find_grade("check-double", LESSON, LESSON, "ann").auto_score = 3
        why = gradebook.find_grade("why", LESSON, LESSON, "ann")
        why.manual_score, why.needs_manual_grade = 2, False
        gradebook.find_comment("why", LESSON, LESSON, "ann").manual_comment = "Say *which* bound."
        gradebook.db.commit()
    checks = (
        CheckResult("a", "Twice as much", 3, 3),
        CheckResult("b", "Shapes", 0, 1, "You lost <b>an axis</b>."),
    )
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "check-double":
            shown = {"text/html": "<script>alert(8)</script>", "text/plain": "<script>alert(9)</script>"}
            outputs = feedback.clean_outputs([{"output_type": "display_data", "data": shown, "metadata": {}}])
            cell.outputs = [
                feedback.check_output(ExerciseScore("double", "check-double", 3, 4, None, checks)),
                *outputs,
            ]
        if cell.cell_type == "markdown" and cell.metadata.get("nbgrader"):
            cell.source = HOSTILE
    record = Record(
        LESSON, "ann", "a", "b", "none", "s", "2026-01-01T00:00:00+00:00", 1.0, trouble="It <i>hung</i>."
    )
    front = nbformat.v4.new_raw_cell("<script>alert(10)</script>")
    notebook.cells[:0] = [feedback.banner(record), front]
    folder = root / "autograded" / "ann" / LESSON
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{LESSON}.ipynb")
    (folder / "timestamp.txt").write_text("2026-01-01 00:00:00 UTC")
    return root


@pytest.fixture(scope="module")
def page(course) -> BeautifulSoup:
    path = write_feedback(course, LESSON, "ann")
    assert path == course / "feedback" / "ann" / LESSON / f"{LESSON}.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    return BeautifulSoup(path.read_text(), "html.parser")


def text_of(page: BeautifulSoup) -> str:
    return " ".join(page.body.get_text(" ").split())


def test_the_page_shows_the_gradebooks_marks_and_a_persons_comment(page):
    """Scores by machine and by hand, the sum, and the comment with its formatting."""
    text = text_of(page)
    assert "(Score: 5.0 / 14.0)" in text
    assert "Written response (Score: 2.0 / 5.0)" in text
    assert page.find("em", string="which") is not None


def test_the_page_says_what_broke_and_which_hidden_checks_held(page):
    """The banner and the checks' messages arrive as the text that they are."""
    text = text_of(page)
    assert "What broke: It <i>hung</i>." in text
    assert "Graded without a wall." in text
    assert "Hidden checks of double : 3 of 4 points" in text
    assert "You lost <b>an axis</b>." in text


def test_no_script_of_a_learner_is_on_the_page(page):
    """Scripts are nbgrader's own, nothing has a handler, no frame, form or vector image is left."""
    assert "alert(" not in "".join(script.get_text() for script in page.find_all("script"))
    assert [tag.name for tag in page.find_all(["iframe", "form", "input", "svg", "object", "embed"])] == []
    for tag in page.find_all(True):
        assert not [name for name in tag.attrs if name.startswith("on")], tag
        assert not re.match(r"\s*(javascript|data:text)", tag.get("href", ""), re.IGNORECASE), tag
    assert "alert(10)" not in text_of(page)  # raw cells are not shown


def test_a_learners_markdown_loads_nothing_and_poses_as_nothing(page):
    """No foreign image, no id or class by which nbgrader's scripts would take it for a mark, no layout of its own."""
    assert "evil.example" not in " ".join(str(tag.get("src", "")) for tag in page.find_all(True))
    assert page.find(id="check-double") is None
    assert page.find("div", class_="score") is None
    hello = page.find("div", string="hello")
    assert "position" not in hello.get("style", "")


def test_formatting_that_does_no_harm_stays(page):
    """Emphasis, code and formulas of an answer read as they were written."""
    assert page.find("em", string="kept") is not None
    assert page.find("code", string="a < b") is not None
    assert "$x<y$" in text_of(page)


def test_every_image_on_the_page_has_alt_text(page):
    """nbgrader's page promises nothing here; ours holds it."""
    assert all(image.get("alt") for image in page.find_all("img"))


def test_nbgraders_own_command_makes_the_same_page(course, page, tmp_path):
    """`nbgrader generate_feedback` in such a course directory gives the page that `sparring grade` gave."""
    copy = tmp_path / "course"
    shutil.copytree(course, copy)
    shutil.rmtree(copy / "feedback")
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "none"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", LESSON]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = BeautifulSoup((copy / "feedback" / "ann" / LESSON / f"{LESSON}.html").read_text(), "html.parser")
    assert str(theirs.body) == str(page.body)


def test_a_page_that_nothing_was_graded_for_is_refused(course, tmp_path):
    """The message names the file and the command that makes it; a folder that is no course is named as such."""
    with pytest.raises(CourseError, match=r"no graded notebook .*ben.*sparring grade 01_doubling"):
        write_feedback(course, LESSON, "ben")
    with pytest.raises(CourseError, match="no course directory"):
        write_feedback(tmp_path, LESSON, "ann")
