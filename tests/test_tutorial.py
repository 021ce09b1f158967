"""The tutorial, typed as it stands on its page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sparring_grader.record import Record

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
LESSON = "05_mlp_and_fgsm"


def typed() -> list[str]:
    """Return the commands of the page in order, but for those that wait for a person."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert "jupyter lab" in lines
    return [line for line in lines if line not in {"jupyter lab", ". .venv/bin/activate"}]


@pytest.mark.slow
def test_a_reader_who_types_the_tutorial_gets_what_it_promises(tmp_path: Path) -> None:
    """Ben has all automatic points, Ana and Cleo none, each with the reason; report and feedback are there."""
    course = tmp_path / "first-class"
    script = "\n".join(["set -euo pipefail", *typed()]).replace("../first-class", str(course))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert run.returncode == 0, run.stdout + run.stderr

    records = {
        student: Record.from_json((course / ".sparring" / "records" / LESSON / f"{student}.json").read_text())
        for student in ("ana", "ben", "cleo")
    }
    assert records["ben"].earned == records["ben"].points > 0
    assert records["ben"].trouble is None
    assert records["ana"].earned == 0
    assert records["cleo"].earned == 0
    assert records["cleo"].trouble is not None
    assert "notebook" in records["cleo"].trouble

    pages = [word for word in run.stdout.split() if word.endswith(".html") and "report" in word]
    assert pages, "sparring report names the page it wrote"
    assert (course / pages[-1]).is_file()
    for student in records:
        assert list((course / "feedback" / student / LESSON).glob("*.html"))
