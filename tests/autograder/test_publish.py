"""Publishing: a lesson becomes its source and its release, and curriculum/ follows its lessons."""

import errno
import json
import os
import shutil
import sysconfig
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from sparring_grader import lesson as lessons
from sparring_grader import solutions
from sparring_grader.commands.publish import command
from sparring_grader.errors import GraderError, LessonError
from sparring_grader.publish import dumps, to_release, to_source

FIXTURES = Path(__file__).parent / "fixtures/solutions"
NAME = "01_doubling_up"
TEXT = (FIXTURES / NAME / f"{NAME}.py").read_text(encoding="utf-8")
PANEL = {
    "solution": {
        "deletable": False,
        "nbgrader": {
            "grade": False,
            "grade_id": "half",
            "locked": False,
            "schema_version": 3,
            "solution": True,
            "task": False,
        },
    },
    "test": {
        "deletable": False,
        "editable": False,
        "nbgrader": {
            "grade": True,
            "grade_id": "test_half",
            "locked": True,
            "points": 2,
            "schema_version": 3,
            "solution": False,
            "task": False,
        },
    },
}


def with_panel_cells():
    """The fixture with two cells as JupyterLab's Create Assignment panel would mark them."""
    marks = {
        name: " ".join(f"{key}={json.dumps(value)}" for key, value in given.items())
        for name, given in PANEL.items()
    }
    return (
        TEXT.replace("points: 5.5", "points: 7.5")
        + f"\n# %% {marks['solution']}\ndef half(x):\n    ### BEGIN SOLUTION\n    return x / 2\n    ### END SOLUTION\n"
        + f"\n# %% {marks['test']}\nassert half(2) == 1\n"
    )


def parse(text=TEXT):
    return lessons.parse(text, f"{NAME}.py")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder like a clone: solutions/ with the fixture lesson, and the shell standing in it."""
    shutil.copytree(FIXTURES, tmp_path / "solutions")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run():
    """Call the command and return its exit code and output; a GraderError is raised, as the edge expects it."""

    def invoke(*words):
        result = CliRunner().invoke(command, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return invoke


def text_of(clone):
    return clone / "solutions" / NAME / f"{NAME}.py"


def notebook_of(clone):
    return clone / "curriculum" / NAME / f"{NAME}.ipynb"


def test_the_source_holds_the_solutions_and_nbgraders_metadata():
    """nbgrader's own validation takes it, and each graded cell is what its mark says."""
    from nbgrader.nbgraderformat import MetadataValidator

    source = to_source(parse())
    MetadataValidator().validate_nb(source)
    graded = {cell.id: cell.metadata.nbgrader for cell in source.cells if "nbgrader" in cell.metadata}
    assert list(graded) == ["double", "check-double", "why-alone"]
    assert (graded["double"].solution, graded["double"].grade, graded["double"].locked) == (
        True,
        False,
        False,
    )
    check, question = graded["check-double"], graded["why-alone"]
    assert (check.solution, check.grade, check.locked, check.points) == (False, True, True, 3)
    assert (question.solution, question.grade, question.points) == (True, True, 2.5)
    assert "secret_of_doubling" in dumps(source)
    assert source.metadata.sparring == {"checks": {"check-double": "double"}, "format": 1, "lesson": NAME}


def test_the_release_has_stubs_locks_checksums_and_no_outputs():
    """Nothing of the solution or of the reference answer is left."""
    release = to_release(parse())
    cells = {cell.id: cell for cell in release.cells}
    assert cells["double"].source.endswith("# YOUR CODE HERE\n    raise NotImplementedError()")
    assert cells["why-alone"].source == "YOUR ANSWER HERE"
    assert cells["check-double"].metadata.editable is False
    assert cells["check-double"].metadata.deletable is False
    assert cells["double"].metadata.deletable is False
    assert all(cells[name].metadata.nbgrader.checksum for name in ("double", "check-double", "why-alone"))
    assert "secret_of_doubling" not in dumps(release)
    assert all(
        cell.outputs == [] and cell.execution_count is None
        for cell in release.cells
        if cell.cell_type == "code"
    )
    nbformat.validate(release)


def test_the_release_is_what_nbgraders_generate_assignment_makes(tmp_path, monkeypatch):
    """In a course directory, nbgrader turns the source into the very same notebook."""
    # nbgrader starts `alembic` by name.
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    lesson = parse(with_panel_cells())
    folder = tmp_path / "source" / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_text(dumps(to_source(lesson)))
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.db_url = f"sqlite:///{tmp_path}/gradebook.db"
    result = NbGraderAPI(config=config).generate_assignment(NAME)
    assert result["success"], result["log"]
    made = nbformat.read(tmp_path / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    assert json.loads(dumps(made)) == json.loads(dumps(to_release(lesson)))


def test_metadata_of_jupyterlabs_panel_passes_through_unchanged():
    """The source's cells carry exactly what the panel wrote."""
    cells = {cell.id: cell for cell in to_source(parse(with_panel_cells())).cells}
    assert cells["half"].metadata == PANEL["solution"]
    assert cells["test_half"].metadata == PANEL["test"]


def test_an_edit_changes_the_id_of_the_edited_cell_only():
    """So a learner's notebook still finds its cells after a lesson was mended elsewhere; equal cells differ."""
    before = [cell.id for cell in to_release(parse()).cells]
    edited = TEXT.replace("# Doubling up\n", "# Doubling up!\n", 1)
    after = [cell.id for cell in to_release(parse(edited)).cells]
    assert [index for index, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [1]
    twice = TEXT + "\n# %% [markdown]\n# Same.\n\n# %% [markdown]\n# Same.\n"
    ids = [cell.id for cell in to_release(parse(twice)).cells]
    assert len(set(ids)) == len(ids)
    assert ids[: len(before)] == before


def test_the_same_lesson_always_makes_the_same_text():
    """No time, no random id, no path gets in; the text is JSON with one final newline, and comes back equal."""
    first, second = (dumps(to_release(parse())) for _ in range(2))
    assert first == second
    assert first.endswith("}\n")
    assert dumps(nbformat.reads(first, as_version=4)) == first


def test_what_nbgrader_refuses_is_a_lesson_error(monkeypatch):
    """An error inside nbgrader names the lesson and the step."""
    from nbgrader.preprocessors import ClearSolutions

    def fail(self, notebook, resources):
        raise RuntimeError("no end solution statement found")

    monkeypatch.setattr(ClearSolutions, "preprocess", fail)
    with pytest.raises(
        LessonError, match=r"01_doubling_up\.py: nbgrader's ClearSolutions refuses it: no end"
    ):
        to_release(parse())


def test_publish_writes_and_check_is_clean_until_one_character_changes(clone, run):
    """The check prints a diff and the command that mends it; the command mends it."""
    assert run("--check")[0] == 1
    code, output = run()
    assert code == 0
    assert f"wrote curriculum/{NAME}/{NAME}.ipynb" in output
    assert run("--check") == (0, "curriculum is current.\n")
    text_of(clone).write_text(TEXT.replace("# # Doubling up\n", "# # Doubling Up\n"))
    code, output = run("--check", NAME)
    assert code == 1
    assert '-    "# Doubling up' in output
    assert '+    "# Doubling Up' in output
    assert output.rstrip().endswith(f"mend it with: sparring publish {NAME}")
    assert run(NAME)[0] == 0
    assert run("--check", "01")[0] == 0


def test_publish_finds_its_folders_upward_and_leaves_what_is_current(clone, run, monkeypatch):
    """From inside a lesson's folder the same lessons are published; an equal notebook is not written again."""
    run()
    before = notebook_of(clone).stat().st_mtime_ns
    monkeypatch.chdir(text_of(clone).parent)
    assert run() == (0, "1 published, 1 of them as they were.\n")
    assert notebook_of(clone).stat().st_mtime_ns == before


def test_other_folders_can_be_named(clone, run, tmp_path):
    """The remedy of a check names them too."""
    words = ("--solutions", clone / "solutions", "--curriculum", tmp_path / "other place")
    code, output = run("--check", *words)
    assert code == 1
    assert "--curriculum" in output
    assert "'" in output.splitlines()[-1], "a path with a space is quoted"
    assert run(*words)[0] == 0
    assert run("--check", *words)[0] == 0


def test_a_stale_notebook_is_reported_and_removed(clone, run):
    """Only what `sparring publish` once made is removed, and only when all lessons are published."""
    run()
    stale = clone / "curriculum/02_gone/02_gone.ipynb"
    stale.parent.mkdir()
    shutil.copy(notebook_of(clone), stale)
    own = clone / "curriculum/notes/notes.ipynb"
    own.parent.mkdir()
    own.write_text(dumps(nbformat.v4.new_notebook()))
    code, output = run("--check")
    assert code == 1
    assert "curriculum/02_gone/02_gone.ipynb is stale" in output
    assert run("--check", NAME)[0] == 0
    assert "removed curriculum/02_gone/02_gone.ipynb" in run()[1]
    assert not stale.parent.exists()
    assert own.exists()


def test_a_notebook_that_somebody_worked_in_is_not_overwritten(clone, run):
    """Work may be nowhere else, so publishing stops before it writes anything."""
    run()
    work = nbformat.read(notebook_of(clone), as_version=4)
    work.cells[2].execution_count = 1
    notebook_of(clone).write_text(dumps(work))
    with pytest.raises(GraderError, match="has been run, so somebody's work may be in it; move it elsewhere"):
        run()
    assert nbformat.read(notebook_of(clone), as_version=4).cells[2].execution_count == 1


def test_a_full_disk_leaves_the_old_notebook_whole(clone, run, monkeypatch):
    """The message says what happened and what to do, and no half-written file stays."""
    run()
    before = notebook_of(clone).read_bytes()
    text_of(clone).write_text(TEXT.replace("# # Doubling up\n", "# # Doubling Up\n"))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GraderError, match=r"No space left on device; make room .* untouched"):
        run()
    assert notebook_of(clone).read_bytes() == before
    assert list(notebook_of(clone).parent.iterdir()) == [notebook_of(clone)]


def test_a_lesson_that_does_not_exist_is_named_with_those_that_do(clone, run):
    with pytest.raises(LessonError, match=f"no lesson '01_doubling' in .*did you mean {NAME}"):
        run("01_doubling")
    with pytest.raises(LessonError, match=f"no lesson '99' in .*there are: {NAME}"):
        run("99")


def test_no_solutions_folder_is_an_error_with_a_remedy(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraderError, match="run this in a clone, or say --solutions DIR"):
        run()
    with pytest.raises(LessonError, match="nowhere: no such folder"):
        run("--solutions", "nowhere")


def test_a_folder_that_is_not_named_like_a_lesson_is_refused(clone, run):
    """A misspelt lesson must not vanish silently."""
    (clone / "solutions/5_mlp").mkdir()
    with pytest.raises(LessonError, match="5_mlp: not named like a lesson"):
        run()


@pytest.mark.parametrize(
    ("file", "old", "new", "line_holds", "says"),
    [
        ("checks", "points=2", "points=5", "points=5", "add up to 6 points .*points=3; make them equal"),
        (
            "checks",
            '@check("double", points=2)',
            '@check("doubel", points=2)',
            "doubel",
            "did you mean 'double'",
        ),
        ("mistakes", '"double", "squared"', '"dubble", "squared"', '"squared"', "did you mean 'double'"),
        ("mistakes", "def double(x):\\n    return x * x", "def triple(x): 0", '"squared"', "lacks double"),
        ("mistakes", "return x * x", "return x x", '"squared"', "not Python"),
        ("mistakes", '"You squared x"', '""', '"squared"', "has no message"),
        ("mistakes", '"You squared x"', '"in place"', '"squared"', "shares its message"),
        ("mistakes", '"in_place"', '"squared"', '"squared"', "2 entries for 'double' are called 'squared'"),
    ],
)
def test_checks_and_mistakes_that_do_not_fit_are_refused(clone, run, file, old, new, line_holds, says):
    """File, line and remedy, before anything is written."""
    path = clone / "solutions" / NAME / f"{file}.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    line = next(n for n, row in enumerate(path.read_text().splitlines(), start=1) if line_holds in row)
    with pytest.raises(LessonError, match=rf"{file}\.py:{line}: .*{says}"):
        run()
    assert not (clone / "curriculum").exists()


def test_too_few_mistakes_and_no_alternative_are_refused(clone, run):
    path = clone / "solutions" / NAME / "mistakes.py"
    path.write_text("MISTAKES = []\nALTERNATIVES = []\n")
    with pytest.raises(
        LessonError, match="has 0 mistakes; add answers that learners really give, at least 2"
    ) as caught:
        run()
    assert "ALTERNATIVES is empty" in str(caught.value)


def test_an_exercise_without_hidden_checks_is_refused(clone, run):
    path = clone / "solutions" / NAME / "checks.py"
    path.write_text(path.read_text().replace('"double", points', '"other", points'))
    with pytest.raises(LessonError, match="'double' has no hidden check, so it can't give marks"):
        run()


@pytest.mark.parametrize("file", ["checks.py", "mistakes.py"])
def test_a_missing_companion_is_named(clone, run, file):
    (clone / "solutions" / NAME / file).unlink()
    with pytest.raises(LessonError, match=rf"{file}: no such file"):
        run()


def test_a_prerequisite_is_looked_up_among_the_lessons(clone, run):
    text = text_of(clone).read_text()
    text_of(clone).write_text(text.replace("prerequisites: []", "prerequisites: [00_orientation]"))
    with pytest.raises(LessonError, match="no lesson '00_orientation' to be a prerequisite"):
        run()
    (clone / "solutions/00_orientation").mkdir()
    assert solutions.load(clone / "solutions", NAME).front["prerequisites"] == ["00_orientation"]
