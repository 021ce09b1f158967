"""`sparring report`: write one HTML page about a graded class."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("lessons", metavar="[LESSON]...", nargs=-1)
@click.option(
    "--course",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The course directory; the current one if not given.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the page goes; report.html in the course directory if not given.",
)
def command(lessons: tuple[str, ...], directory: Path, output: Path | None) -> None:
    """Write one HTML page about a graded class.

    It shows marks per learner and exercise, which hidden checks failed how often with the messages that learners
    read, what waits for a person, and what broke. LESSON is a lesson's id; without one, every lesson that has been
    graded is reported. The page needs no network and holds names and marks: treat it as you treat the gradebook.
    """
    from sparring_grader import files
    from sparring_grader.course import open_course
    from sparring_grader.report import collect, render

    course = open_course(directory)
    page = render(collect(course.directory / ".sparring" / "records", course.db_url, course.id, lessons))
    target = output or course.directory / "report.html"
    files.write(target, page, mode=0o600)
    click.echo(f"wrote {target}")
