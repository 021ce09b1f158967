"""The rules of the house: what is tracked, what is pinned, who imports whom, what a bare machine meets."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 400  # lines in one Python file


def tracked() -> list[Path]:
    """Return the files that git tracks or would track; a new file is judged before it is committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    """Return the tracked files that are UTF-8 text."""
    found = {}
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" in raw:
            continue
        found[path] = raw.decode("utf-8")
    return found


def pins() -> dict[str, Version]:
    """Return constraints.txt as name -> version; any other kind of line fails here."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line)
        assert match, f"constraints.txt: {line!r} is not NAME==VERSION"
        found[canonicalize_name(match[1])] = Version(match[2])
    return found


def imports_of(source: str) -> set[str]:
    """Return the full names of the modules and objects that Python code imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_under(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_every_requirement_of_every_extra_is_pinned_inside_its_range() -> None:
    """Nothing that an extra asks for can float: each has one exact version, and it is an allowed one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [line for extra in extras.values() for line in extra]
    pinned = pins()
    for requirement in map(Requirement, wanted):
        if requirement.name == "sparring":
            assert requirement.extras <= extras.keys()
            continue
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is in pyproject.toml but not in constraints.txt"
        assert version in requirement.specifier, f"{requirement} does not allow the pinned {version}"


def test_pins_name_no_local_build_and_no_cuda_package() -> None:
    """A pin such as torch==2.13.0+cpu would be found on one machine only; CUDA is never asked for."""
    for name, version in pins().items():
        assert version.local is None, f"{name}=={version}: cut the local tag"
        assert not name.startswith("nvidia"), f"{name} belongs to a CUDA build of torch"


def test_no_python_file_is_longer_than_its_reader_can_follow() -> None:
    """Lessons with their solutions are long by nature; everything else stays under the limit."""
    too_long = {
        str(path.relative_to(ROOT)): count
        for path in tracked()
        if path.suffix == ".py" and not path.is_relative_to(ROOT / "solutions")
        if (count := len(path.read_text().splitlines())) > LONGEST
    }
    assert not too_long, f"more than {LONGEST} lines; split by subject: {too_long}"


def test_the_folders_around_the_packages_are_no_packages() -> None:
    """`import shared_lib` must not exist: each folder holds exactly one import package."""
    for folder, package in (("shared_lib", "sparring"), ("autograder", "sparring_grader")):
        assert not (ROOT / folder / "__init__.py").exists()
        inits = [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")]
        assert inits == [package]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    """The repository works anywhere: no path of the machine it was written on, no package index by name."""
    here = [str(path) for path in (ROOT, Path.home(), Path(sys.prefix)) if len(path.parts) > 2]
    pattern = re.compile(
        "|".join(
            [
                *map(re.escape, here),
                r"/(?:home|Users)/(?!(?:learner|user|ada)\b)\w+",  # these three are invented: the home behind the wall, and in tests
                r"\b[A-Z]:\\Users\\",
                r"\bfile:///\w",
                r"\b(?:pypi|pythonhosted|npmjs|download\.pytorch)\.(?:org|com)\b",
                r"--(?:extra-)?index-url",
            ]
        )
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path, text in texts().items()
        if path != Path(__file__)
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later_in_the_packages() -> None:
    """A marker of unfinished work is an issue to be opened, not a comment."""
    pattern = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, found


def test_lessons_know_the_library_and_never_the_grader() -> None:
    """A learner's notebook must run where only the `course` extra is installed."""
    lessons = [path for path in (ROOT / "solutions").glob("*/*.py") if path.stem == path.parent.name]
    for path in lessons:
        lines = path.read_text().splitlines()
        python = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
        assert not [name for name in imports_of(python) if is_under(name, "sparring_grader")], path.name


def test_hidden_checks_import_the_library_and_the_words_of_checks_only() -> None:
    """checks.py and mistakes.py never import a lesson, nor the grader beyond `sparring_grader.checks`."""
    allowed = {*sys.stdlib_module_names, "torch", "numpy", "sparring"}
    for path in sorted((ROOT / "solutions").glob("*/*.py")):
        if path.stem not in {"checks", "mistakes"}:
            continue
        for name in imports_of(path.read_text()):
            fine = name.partition(".")[0] in allowed or is_under(name, "sparring_grader.checks")
            assert fine, f"{path.relative_to(ROOT)} imports {name}"


def test_the_grader_uses_only_the_librarys_public_names() -> None:
    """What starts with an underscore in `sparring` may change without the grader noticing."""
    for path in sorted((ROOT / "autograder").rglob("*.py")):
        private = [
            name for name in imports_of(path.read_text()) if is_under(name, "sparring") and "._" in name
        ]
        assert not private, f"{path.relative_to(ROOT)} imports {private}"


def test_make_help_lists_every_target() -> None:
    """`make` alone tells a newcomer what there is."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    shown = re.findall(r"^  make (\w+)", listed, flags=re.MULTILINE)
    declared = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert sorted(shown) == sorted(" ".join(declared).split())


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with the Makefile alone, and a PATH on which python3 is an old one."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "sed", "rm", "make", "touch"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # the answer of an interpreter older than 3.11
    old.chmod(0o755)
    return tmp_path, {**os.environ, "PATH": str(tools)}


def test_an_old_python_is_refused_with_the_remedy(bare: tuple[Path, dict[str, str]]) -> None:
    """Where no interpreter is new enough, set-up stops before it makes anything, and says what to do."""
    folder, environment = bare
    run = subprocess.run(
        ["make", ".venv/bin/python"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "Python 3.11 or newer is needed" in run.stderr
    assert "PYTHON=" in run.stderr
    assert not (folder / ".venv").exists()


def test_a_newer_python_beside_an_old_python3_is_found(bare: tuple[Path, dict[str, str]]) -> None:
    """Where python3 is old but python3.12 is there, python3.12 is the one that makes .venv."""
    folder, environment = bare
    (folder / "bin" / "python3.12").symlink_to(sys.executable)
    shown = subprocess.run(
        ["make", ".venv/bin/python"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in shown
    assert (folder / ".venv" / "pyvenv.cfg").is_file()


def test_the_ci_entry_is_executable_and_parses() -> None:
    """.ci/run is bash without a syntax error, stops at the first failure, and ends in `make test`."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "set -euo pipefail" in script.read_text()
    assert "make test" in script.read_text()
