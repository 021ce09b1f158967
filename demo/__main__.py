"""The whole path in a temporary course: publish, hand in through nbgrader's exchange, grade, report, compare.

`python -m demo` exits with 1 if any mark or message is not what it must be. `--keep DIR` makes the course in a
folder of yours instead of a temporary one that stays for you to look at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from demo.classroom import HandedIn

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ("01_tensors_and_autograd", "05_mlp_and_fgsm")


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the course here")
    parser.add_argument("--workers", type=int, help="how many submissions are graded at once")
    options = parser.parse_args()
    console = Console()
    began = time.monotonic()
    place = options.keep or Path(tempfile.mkdtemp(prefix="sparring-demo-")) / "course"

    console.rule("Publish")
    run("publish", "--check", cwd=ROOT)
    run("new", str(place), *LESSONS, cwd=ROOT)
    shorten_patience(place)
    console.rule("Release, hand in, collect, through nbgrader's exchange")
    # Imported late: the first lines on the screen should not wait for torch and nbgrader.
    from demo.classroom import hand_in
    from demo.exchange import collect, materials, release, submit

    release(place, LESSONS)
    handed = hand_in(materials(place, LESSONS))
    for lesson in LESSONS:
        submit(place, [one for one in handed if one.lesson == lesson])
        collect(place, lesson)
    students = len({one.student for one in handed})
    console.print(f"{len(handed)} submissions of {students} students handed in and collected.")

    console.rule("Grade")
    workers = [] if options.workers is None else ["--workers", str(options.workers)]
    run("grade", *workers, cwd=place)
    run("report", "--output", "report.html", cwd=place)

    console.rule("Compare")
    faults = compare(console, place, handed)
    report = place / "report.html"
    shown = next(one for one in handed if one.loses)
    page = place / "feedback" / shown.student / shown.lesson / f"{shown.lesson}.html"
    console.print(f"\nThe report:             {report}\nOne learner's feedback: {page}", soft_wrap=True)
    console.print(f"{time.monotonic() - began:.0f} s in all.")
    if faults:
        console.print(f"[bold red]{faults} of {len(handed)} submissions did not get what they must.[/]")
        return 1
    console.print(f"[bold green]All {len(handed)} submissions got what they must.[/]")
    return 0


def shorten_patience(place: Path) -> None:
    """Give a cell half a minute instead of a whole one, so that the endless loop does not hold up the demo."""
    path = place / "course.json"
    about = json.loads(path.read_text())
    about["limits"] = {**about.get("limits", {}), "cell_seconds": 30}
    path.write_text(json.dumps(about, indent=1))


def run(*words: str, cwd: Path) -> None:
    """Run a `sparring` command as a user would; the demo ends with its exit code if it fails."""
    command = Path(sys.executable).with_name("sparring")
    print(f"$ sparring {' '.join(words)}", flush=True)
    path = f"{command.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    result = subprocess.run([command, *words], cwd=cwd, env={**os.environ, "PATH": path}, check=False)
    if result.returncode:
        sys.exit(result.returncode)


def compare(console: Console, place: Path, handed: list[HandedIn]) -> int:
    """Print the table of marks and return how many submissions did not get what they must."""
    from demo.classroom import wrong
    from sparring_grader.record import Record

    table = Table(
        "student", "handed in", "points", "as it must be", "what the learner reads first", expand=True
    )
    faults = 0
    for one in handed:
        record = Record.from_json(
            (place / ".sparring" / "records" / one.lesson / f"{one.student}.json").read_text()
        )
        said = wrong(one, record)
        faults += bool(said)
        messages = [
            check.message for exercise in record.exercises for check in exercise.checks if check.message
        ]
        first = record.trouble or next(iter(messages), "")
        verdict = "[red]no:[/] " + "; ".join(said) if said else "[green]yes[/]"
        table.add_row(
            one.student,
            f"{one.lesson[:2]}: {one.what}",
            f"{record.earned:g} of {record.points:g}",
            verdict,
            first[:90],
        )
    console.print(table)
    return faults


if __name__ == "__main__":
    sys.exit(main())
