"""Nobody pays for what they don't use: what starting the command and importing the library cost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "sparring"
LIMIT = 0.3  # seconds of processor time


def processor_seconds(command: list[str]) -> float:
    """Run a command and return the user and system time that it and its children took."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def modules_after(code: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after running `code`."""
    listing = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_help_costs_less_than_a_blink() -> None:
    """The best of several runs counts, so that a busy machine does not decide."""
    best = min(processor_seconds([str(COMMAND), "--help"]) for _ in range(6))
    assert best < LIMIT, f"sparring --help took {best:.2f} s of processor time; the limit is {LIMIT} s"


def test_help_imports_none_of_the_heavy_packages() -> None:
    """`sparring --help` answers from a table of names and lines."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", str(COMMAND), "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "click" in imported  # else the listing was not understood
    heavy = {
        "torch",
        "numpy",
        "nbgrader",
        "nbformat",
        "nbconvert",
        "jinja2",
        "matplotlib",
        "sqlalchemy",
        "IPython",
    }
    assert not imported & heavy


@pytest.mark.parametrize("package", ["click", "yaml", "nbgrader"])
def test_the_command_without_its_packages_says_what_to_install(package: str) -> None:
    """`pip install sparring` alone brings the command's name; it then names the extra, and shows no traceback."""
    code = (
        f"import sys\nsys.modules[{package!r}] = None\nsys.argv = ['sparring', 'publish', '--check']\n"
        "from sparring_grader.cli import main\nmain()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert f"{package!r} is not installed" in run.stderr
    assert "pip install 'sparring[instructor]'" in run.stderr


def test_importing_the_library_draws_and_teaches_nothing() -> None:
    """Every module of sparring can be imported where only torch and numpy are installed."""
    code = (
        "import importlib, pkgutil, sparring\n"
        "for module in pkgutil.walk_packages(sparring.__path__, 'sparring.'):\n"
        "    importlib.import_module(module.name)"
    )
    loaded = modules_after(code)
    assert "torch" in loaded
    # tqdm is not in the list: torch itself imports it where it is installed.
    heavy = {"matplotlib", "IPython", "sklearn", "scipy", "nbgrader", "nbformat", "papermill"}
    assert loaded & heavy == set()
    assert not {name for name in loaded if name.startswith("sparring_grader")}
