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
    help="The course directory; the current one, or the nearest above, if not given.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the page goes; report.html in the course directory if not given.",
)
def command(lessons: tuple[str, ...], directory: Path | None, output: Path | None) -> None:
    """Write one HTML page about a graded class.

    It shows marks per learner and exercise, which hidden checks failed how often with the messages that learners
    read, what waits for a person, and what broke. LESSON is a lesson's id, such as 05_mlp_and_fgsm, or its number,
    05; without one, every lesson that has been graded is reported. The page needs no network and holds names and
    marks: treat it as you treat the gradebook.

    Exit codes: 0 written; 2 a mistake that you can mend, named in the message.
    """
    from sparring_grader import files
    from sparring_grader.course import find_course, open_course
    from sparring_grader.report import collect, render

    course = find_course(Path.cwd()) if directory is None else open_course(directory)
    page = render(collect(course.records, course.db_url, course.id, lessons))
    target = output or course.directory / "report.html"
    files.write(target, page, mode=0o600)
    click.echo(f"wrote {target}")
