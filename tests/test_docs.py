"""The docs tell the truth: links lead somewhere, commands and options exist, what is cheap runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sparring_grader.cli import COMMANDS, group

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<tick>```+)(?P<kind>[\w-]*)\n(?P<body>.*?)^(?P=tick)$", re.MULTILINE | re.DOTALL)
KINDS = {"console", "python", "yaml", "text", "json"}
# Programs of others that a page may show; ours, make and nbgrader are looked up.
KNOWN_PROGRAMS = {
    "git",
    "cd",
    "python3",
    "pip",
    "createdb",
    "sudo",
    "export",
    "jupyter",
    "mkdir",
    "cp",
    ".",
    "npm",
    "tar",
}
BIN = Path(sys.executable).parent

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def fences(path: Path, kind: str) -> list[str]:
    """Return the fenced blocks of one kind on a page."""
    return [match["body"] for match in FENCE.finditer(path.read_text()) if match["kind"] == kind]


def commands(path: Path) -> list[str]:
    """Return what a page tells its reader to type: the lines after `$ `, continued ones joined."""
    lines = "\n".join(fences(path, "console")).replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")]


def options(command: click.Command) -> set[str]:
    """Return every spelling of every option that a command takes."""
    spellings = {name for param in command.params if isinstance(param, click.Option) for name in param.opts}
    off = {
        name for param in command.params if isinstance(param, click.Option) for name in param.secondary_opts
    }
    return spellings | off | {"--help", "-h"}


def registered(name: str) -> click.Command:
    """Load a registered command as the command line does."""
    command = group.get_command(click.Context(group), name)
    assert command is not None, f"`sparring {name}` is not a command"
    return command


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, those inside code left out."""
    return {
        slug(match[1]) for match in re.finditer(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    }


@page
def test_every_fence_is_of_a_kind_that_a_test_reads(path: Path) -> None:
    """A block without a kind would escape the tests below."""
    text = path.read_text()
    assert text.count("```") == 2 * len(FENCE.findall(text)), (
        "a fence is not closed, or has odd words behind it"
    )
    kinds = {match["kind"] for match in FENCE.finditer(text)}
    assert kinds <= KINDS


@page
def test_links_inside_the_repository_lead_somewhere(path: Path) -> None:
    """Files, pictures and headings that a page links to exist."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / name).resolve() if name else path
        assert goal.exists(), f"{target} does not exist"
        assert goal.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(goal), f"{target}: no such heading"


@page
def test_shown_commands_exist_with_the_shown_options(path: Path) -> None:
    """Targets of make, commands and options of sparring, subcommands of nbgrader are looked up."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(path):
        words = [word for word in shlex.split(line, comments=True) if "=" not in word or word.startswith("-")]
        program, *rest = words[1:] if words[0] == "time" else words
        if program == "make":
            assert set(rest) <= targets, line
        elif program == "sparring":
            if rest[0].startswith("-"):
                assert rest[0] in {"--help", "-h", "--version"}, line
                continue
            known = options(registered(rest[0]))
            used = {word.partition("=")[0] for word in rest[1:] if word.startswith("-")}
            assert used <= known, f"{line}: {used - known}"
        elif program == "nbgrader":
            from nbgrader.apps import NbGraderApp

            assert rest[0] in NbGraderApp.subcommands, line
        else:
            assert program in KNOWN_PROGRAMS, f"{line}: teach this test about {program}"


def cheap() -> list[str]:
    """Return the shown commands that answer in a moment and change nothing."""
    quick = re.compile(r"(time )?sparring (.* )?(--help|--version)|make help|sparring --help")
    return sorted({line for path in PAGES for line in commands(path) if quick.fullmatch(line)})


@pytest.mark.parametrize("line", cheap())
def test_cheap_commands_run(line: str) -> None:
    """What a reader would try first works as it stands on the page."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@page
def test_shown_python_runs(path: Path, tmp_path: Path) -> None:
    """The Python blocks of a page run top to bottom, in one namespace, and write no warning."""
    blocks = fences(path, "python")
    if not blocks:
        pytest.skip("no Python on this page")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_reference(name: str) -> None:
    """docs/reference/cli.md has a section for each command that names all its options, and no other ones."""
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    match = re.search(rf"^## sparring {name}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"docs/reference/cli.md has no section `## sparring {name}`"
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", match[1]))
    known = {option for option in options(registered(name)) if option.startswith("--")} - {"--help"}
    assert shown == known


def test_the_reference_invents_no_command() -> None:
    """A section of the reference stands for a registered command."""
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert set(re.findall(r"^## sparring (\S+)$", text, re.MULTILINE)) == set(COMMANDS)


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page is an orphan: each is linked from README or from a page that is."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        links = re.findall(r"\]\(([^)#\s]+\.md)", path.read_text())
        waiting += [(path.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    orphans = {str(path.relative_to(ROOT)) for path in PAGES} - {str(path.relative_to(ROOT)) for path in seen}
    assert orphans <= {"CHANGELOG.md"}


def test_the_lesson_on_the_format_page_is_a_lesson() -> None:
    """Front matter and cells of the page, put together, pass the publisher; its reference passes its check."""
    from sparring_grader.lesson import parse
    from sparring_grader.publish import to_release, to_source

    path = ROOT / "docs" / "reference" / "lesson-format.md"
    (front,), (cells,) = fences(path, "yaml"), fences(path, "text")
    text = "\n".join(["# ---", *(f"# {line}" for line in front.splitlines()), "# ---", "", cells])
    lesson = parse(text, "05_mlp_and_fgsm.py")
    code = [cell.source for cell in to_source(lesson).cells if cell.cell_type == "code"]
    exec(compile("\n".join(code), str(path), "exec"), {})
    assert "NotImplementedError" in "".join(cell.source for cell in to_release(lesson).cells)
