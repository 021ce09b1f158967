"""`sparring publish`: make curriculum/ from the lessons' texts, or check that it is current."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparring_grader.errors import GraderError

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("lessons", metavar="[LESSON]...", nargs=-1)
@click.option(
    "--check", is_flag=True, help="Write nothing; show what would change, and exit with 1 if anything does."
)
@click.option(
    "--solutions", type=FOLDER, help="The folder of lessons; solutions/, found upward, if not given."
)
@click.option("--curriculum", type=FOLDER, help="Where notebooks go; curriculum/ beside it, if not given.")
def command(lessons: tuple[str, ...], check: bool, solutions: Path | None, curriculum: Path | None) -> None:
    """Make curriculum/ from the lessons' texts, or check that it is current.

    LESSON is a lesson's id, such as 05_mlp_and_fgsm, or its number, 05; without one, all are published, and
    notebooks whose lesson is gone are removed. A lesson whose text, checks or mistakes are wrong is refused, with
    file, line and remedy, before anything is written.

    Exit codes: 0 published, or current; 1 --check found a difference; 2 a mistake that you can mend, named in
    the message.
    """
    from sparring_grader import files, publish
    from sparring_grader import solutions as folder

    source = solutions or folder.upward("solutions")
    target = curriculum or source.parent / "curriculum"
    known = folder.find(source)
    made: dict[Path, str] = {}
    for identity in folder.choose(lessons, known, source):
        lesson = folder.load(source, identity)
        folder.check(lesson)
        made[target / identity / f"{identity}.ipynb"] = publish.dumps(publish.to_release(lesson))
    changed = {path: text for path, text in made.items() if _current(path) != text}
    stale = [] if lessons else [path for path in _notebooks(target) if path not in made]
    if check:
        _report(changed, stale, _mend(lessons, solutions, curriculum))
        return
    for path in [*changed, *stale]:
        _refuse_to_lose_work(path)
    for path, text in changed.items():
        files.write(path, text)
        click.echo(f"wrote {_shown(path)}")
    for path in stale:
        _remove(path)
        click.echo(f"removed {_shown(path)}: no lesson makes it any more")
    click.echo(f"{len(made)} published, {len(made) - len(changed)} of them as they were.")


def _current(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise GraderError(f"{path}: can't be read: {error}; move it away, then publish again") from error


def _notebooks(target: Path) -> list[Path]:
    """Return the notebooks in the curriculum that `sparring publish` made, now or earlier."""
    return sorted(path for path in target.glob("*/*.ipynb") if _about(path))


def _about(path: Path) -> bool:
    notebook = _parsed(path)
    return notebook is not None and "sparring" in notebook.metadata


def _parsed(path: Path) -> NotebookNode | None:
    import nbformat

    try:
        return nbformat.reads(_current(path) or "", as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError):
        return None


def _refuse_to_lose_work(path: Path) -> None:
    """Stop before a notebook is replaced that somebody has run: what is in it may be nowhere else."""
    notebook = _parsed(path)
    if notebook is not None and any(
        cell.get("execution_count") or cell.get("outputs") for cell in notebook.cells
    ):
        raise GraderError(
            f"{_shown(path)} has been run, so somebody's work may be in it; move it elsewhere (or delete it), then "
            "publish again. Nothing was written."
        )


def _report(changed: dict[Path, str], stale: list[Path], mend: str) -> None:
    for path, text in changed.items():
        before = _current(path)
        if before is None:
            click.echo(f"{_shown(path)} is missing")
            continue
        name = _shown(path)
        lines = difflib.unified_diff(
            before.splitlines(),
            text.splitlines(),
            f"{name} (committed)",
            f"{name} (from the lesson)",
            lineterm="",
        )
        click.echo("\n".join(lines))
    for path in stale:
        click.echo(f"{_shown(path)} is stale: no lesson makes it any more")
    if changed or stale:
        click.echo(f"curriculum is not current; mend it with: {mend}")
        raise SystemExit(1)
    click.echo("curriculum is current.")


def _mend(lessons: tuple[str, ...], solutions: Path | None, curriculum: Path | None) -> str:
    words = ["sparring", "publish", *lessons]
    words += ["--solutions", str(solutions)] if solutions else []
    words += ["--curriculum", str(curriculum)] if curriculum else []
    return shlex.join(words)


def _remove(path: Path) -> None:
    try:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise GraderError(f"can't remove {path}: {error.strerror}; remove it by hand") from error


def _shown(path: Path) -> str:
    """Return the path as seen from the current directory, if it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
