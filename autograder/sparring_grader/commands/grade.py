"""`sparring grade`: grade what learners handed in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from sparring_grader.course import Course
    from sparring_grader.grade import Summary
    from sparring_grader.record import Record

INTERRUPTED = 130


@click.command()
@click.argument("lessons", metavar="[LESSON]...", nargs=-1)
@click.option(
    "--student", "students", metavar="ID", multiple=True, help="Only this learner's; may be repeated."
)
@click.option("--workers", type=click.IntRange(min=1), help="How many at once; as many as there are cores.")
@click.option("--force", is_flag=True, help="Grade again also what has not changed since it was graded.")
@click.option("--unsandboxed", is_flag=True, help="Grade without a wall, for a class you trust fully.")
@click.option(
    "--course",
    "directory",
    type=click.Path(path_type=Path),
    help="The course directory; the current one, or the nearest above, if not given.",
)
def command(
    lessons: tuple[str, ...],
    students: tuple[str, ...],
    workers: int | None,
    force: bool,
    unsandboxed: bool,
    directory: Path | None,
) -> None:
    """Grade what learners handed in: run it behind the wall, score it, write gradebook and feedback.

    LESSON is a lesson's id, such as 05_mlp_and_fgsm, or its number, 05; without one, all are graded. What has
    not changed since it was graded is left as it is. A mark that a person gave is never overwritten.

    Exit codes: 0 all is graded, whatever the marks; 1 some submissions could not be, each with its reason; 2 a
    mistake that you can mend, named in the message; 130 stopped with Ctrl-C: what was graded is kept, and the same
    command goes on from there.
    """
    from rich.console import Console

    from sparring_grader.course import find_course, open_course

    course = find_course(Path.cwd()) if directory is None else open_course(directory)
    console = Console(soft_wrap=False)
    if unsandboxed:
        console.print(
            "[bold white on red] GRADING WITHOUT A WALL [/] Submissions run as you, and can read and change all that "
            "you can. Every record and feedback page is stamped so, and these marks prove nothing."
        )
    summary = _grade(console, course, lessons, students, workers, force, unsandboxed)
    console.print(_table(summary))
    console.print(
        f"{len(summary.graded)} graded, {len(summary.current)} as they were. "
        "Points of hidden checks; * waits for a person; ! something broke, see the feedback."
    )
    for problem in summary.problems:
        console.print(f"[bold red]Not graded:[/] {_plain(problem)}", highlight=False)
    if summary.problems:
        raise SystemExit(1)


def _grade(
    console: Console,
    course: Course,
    lessons: tuple[str, ...],
    students: tuple[str, ...],
    workers: int | None,
    force: bool,
    unsandboxed: bool,
) -> Summary:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sparring_grader.grade import Step, grade_course, plan

    total = len(plan(course, lessons, students)[0])
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    done = 0
    with Progress(*columns, console=console) as bar:
        line = bar.add_task("Grading", total=total)

        def tell(step: Step) -> None:
            nonlocal done
            done += 1
            bar.update(line, advance=1, description=f"Grading {_plain(step.student)[:24]:24}")

        try:
            return grade_course(
                course,
                lessons,
                students,
                workers=workers,
                force=force,
                unsandboxed=unsandboxed,
                progress=tell,
            )
        except KeyboardInterrupt:
            bar.stop()
            console.print(
                f"Stopped. {done} of {total} are graded and kept; run the same command to go on."
                + (" Leave --force out then." if force else "")
            )
            raise SystemExit(INTERRUPTED) from None


def _table(summary: Summary) -> object:
    """Return the table of marks: a line for each learner, a column for each lesson."""
    from rich.table import Table

    records = summary.records
    lessons = sorted({record.lesson for record in records})
    marks = {
        (record.student, record.lesson): _mark(record, (record.lesson, record.student) in summary.waiting)
        for record in records
    }
    table = Table(title="Marks", title_justify="left")
    table.add_column("learner", overflow="fold")
    for lesson in lessons:
        table.add_column(lesson, justify="right")
    for student in sorted({record.student for record in records}):
        table.add_row(_plain(student), *(marks.get((student, lesson), "") for lesson in lessons))
    return table


def _mark(record: Record, waits: bool) -> str:
    broke = record.trouble is not None
    return f"{record.earned:g} of {record.points:g} {'*' if waits else ' '}{'!' if broke else ' '}"


def _plain(text: str) -> str:
    """Return text in which rich sees no markup of its own."""
    from rich.markup import escape

    return escape(text)
