"""A learner in JupyterLab: opens lesson 05, fills in an exercise, runs it, presses Validate."""

import json
import shutil

import pytest
from tests.browser.conftest import ROOT, jupyter_lab

from sparring_grader import solutions

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LESSON = "05_mlp_and_fgsm"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the curriculum, as `make lab` opens it."""
    folder = tmp_path_factory.mktemp("learner")
    shutil.copytree(ROOT / "curriculum", folder / "curriculum")
    with jupyter_lab(folder / "curriculum", folder / "home", learner=True) as address:
        yield address, folder / "curriculum" / LESSON / f"{LESSON}.ipynb"


def open_notebook(page, lab):
    address, path = lab
    url, token = address.split("|")
    page.goto(f"{url}/lab/tree/{path.parent.name}/{path.name}?token={token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector(".jp-NotebookPanel-toolbar")
    return path


def test_a_learner_fills_in_an_exercise_runs_it_and_validates(page, lab, tmp_path):
    """The first exercise, typed into its cell, passes its visible check; Validate still names what is not done."""
    path = open_notebook(page, lab)
    lesson = solutions.load(ROOT / "solutions", LESSON)
    first = lesson.exercises[0]
    notebook = json.loads(path.read_text())
    index = next(i for i, cell in enumerate(notebook["cells"]) if cell.get("id") == first.name)

    select(page, index)
    cell = page.locator(".jp-Cell.jp-mod-active")
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(first.cell.source)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Above Selected Cell", exact=True).click()
    page.wait_for_timeout(500)
    select(page, index)
    page.locator(".jp-Cell.jp-mod-active .cm-content").click()
    page.keyboard.press("Shift+Enter")
    # The check below the exercise is now selected: run it as well, and wait for its number.
    page.keyboard.press("Shift+Enter")
    select(page, index + 1)
    check = page.locator(".jp-Cell.jp-mod-active")
    page.wait_for_function(
        "() => /\\d/.test(document.querySelector('.jp-Cell.jp-mod-active .jp-InputArea-prompt').textContent)",
        timeout=120_000,
    )
    assert check.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    page.keyboard.press("Control+s")
    page.screenshot(path=str(tmp_path / "exercise.png"))

    page.get_by_role("button", name="Validate").first.click()
    dialog = page.locator(".jp-Dialog")
    dialog.wait_for(timeout=180_000)
    text = dialog.inner_text()
    page.screenshot(path=str(tmp_path / "validate.png"))
    saved = json.loads(path.read_text())
    assert "NotImplementedError" not in "".join(saved["cells"][index]["source"])
    # Validate names the exercises that are not done, and no longer the one that is.
    assert "NotImplementedError" in text
    assert line_of(lesson.exercises[1].check.source) in text
    assert line_of(first.check.source) not in text


def select(page, index):
    """Bring a cell into view and select it, as clicking in the notebook's outline does."""
    page.evaluate(
        """async (index) => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.context.ready; await panel.sessionContext.ready;
            panel.content.activeCellIndex = index;
            await panel.content.scrollToItem(index, 'center');
        }""",
        index,
    )


def line_of(source):
    """The first line of a check, by which it can be told in Validate's dialog."""
    return source.strip().splitlines()[0]
