"""An instructor in the formgrader: opens it, sees the graded class, writes a manual mark, and it stays."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from tests.browser.conftest import ROOT, jupyter_lab

from sparring_grader.errors import WallError
from sparring_grader.wall import find_bubblewrap

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LESSON = "01_tensors_and_autograd"
STUDENTS = ("ana", "ben")


def sparring(*words, cwd):
    command = Path(sys.executable).with_name("sparring")
    result = subprocess.run([command, *words], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course in which Ana's reference and Ben's untouched release have been graded."""
    try:
        find_bubblewrap()
    except WallError as error:
        pytest.skip(f"no wall can be built here: {error}")
    folder = tmp_path_factory.mktemp("instructor") / "course"
    sparring("new", str(folder), LESSON, cwd=ROOT)
    for student, origin in zip(STUDENTS, ("source", "release"), strict=True):
        place = folder / "submitted" / student / LESSON
        place.mkdir(parents=True)
        shutil.copy(folder / origin / LESSON / f"{LESSON}.ipynb", place)
    answer = folder / "submitted" / "ana" / LESSON / f"{LESSON}.ipynb"
    notebook = json.loads(answer.read_text())
    for cell in notebook["cells"]:
        data = cell["metadata"].get("nbgrader", {})
        if data.get("grade") and data.get("solution"):
            cell["source"] = "Because the graph is the same. <script>document.title = 'owned'</script>"
    answer.write_text(json.dumps(notebook))
    sparring("grade", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def lab(course):
    """JupyterLab in the course directory, as an instructor starts it."""
    with jupyter_lab(course, course.parent / "home", learner=False) as address:
        yield address


def marks(course):
    """Return what the gradebook holds of the question: student -> (manual score, needs a person)."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = {}
        for submission in gradebook.assignment_submissions(LESSON):
            for grade in submission.notebooks[0].grades:
                if grade.cell.cell_type == "markdown":
                    found[submission.student.id] = (grade.manual_score, bool(grade.needs_manual_grade))
        return found


def test_an_instructor_sees_the_class_and_writes_a_mark_that_stays(page, course, lab, tmp_path):
    """The formgrader lists both submissions with their marks; a mark typed into it lands in the gradebook."""
    url, token = lab.split("|")
    page.goto(f"{url}/lab?token={token}")
    page.get_by_role("menuitem", name="Nbgrader", exact=True).click()
    page.get_by_text("Formgrader", exact=True).wait_for()
    page.goto(f"{url}/formgrader/manage_submissions/{LESSON}")
    page.locator("tbody tr", has_text="ana").wait_for()
    page.screenshot(path=str(tmp_path / "class.png"))
    row = page.locator("tbody tr", has_text="ana").inner_text()
    assert "24" in row or "20" in row, row
    assert "needs manual grading" in row, row
    assert "needs manual grading" not in page.locator("tbody tr", has_text="ben").inner_text()

    page.goto(f"{url}/formgrader/gradebook/{LESSON}/{LESSON}")
    page.locator("tbody a").first.wait_for()
    with __import__("nbgrader.api", fromlist=["Gradebook"]).Gradebook(
        f"sqlite:///{course / 'gradebook.db'}"
    ) as book:
        ana = book.find_submission_notebook(LESSON, LESSON, "ana").id
    page.goto(f"{url}/formgrader/submissions/{ana}/")
    score = page.locator("input.score:not([disabled])").last
    score.wait_for()
    assert "owned" not in page.title()
    assert page.get_by_text("Hidden checks of").first.is_visible()
    page.screenshot(path=str(tmp_path / "submission.png"))
    score.fill("3.5")
    score.press("Tab")
    for _ in range(40):
        page.wait_for_timeout(250)
        if marks(course)["ana"][0] is not None:
            break
    assert marks(course)["ana"] == (3.5, False)

    sparring("grade", "--force", cwd=course)
    assert marks(course)["ana"][0] == 3.5
