"""`sparring new`: make a course directory."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("lessons", metavar="[LESSON]...", nargs=-1)
@click.option(
    "--db",
    metavar="URL",
    help="The gradebook, such as postgresql://user:password@host/database; an SQLite file in DIR if not given.",
)
@click.option(
    "--solutions",
    type=click.Path(path_type=Path),
    help="The folder of lessons; solutions/, found upward, if not given.",
)
@click.option(
    "--course-id", metavar="ID", help="What nbgrader calls the course; DIR's own name if not given."
)
def command(
    directory: Path, lessons: tuple[str, ...], db: str | None, solutions: Path | None, course_id: str | None
) -> None:
    """Make a course directory DIR with its settings, gradebook and assignments.

    LESSON is a lesson's id, such as 05_mlp_and_fgsm, or its number, 05; without one, all lessons are taken. In
    DIR, nbgrader's own commands and its formgrader work, and `sparring grade` grades. DIR must not exist yet, or
    be empty; if anything fails, nothing is left behind.

    Exit codes: 0 made; 2 a mistake that you can mend, named in the message.
    """
    from sparring_grader.creation import create
    from sparring_grader.solutions import upward

    source = solutions or upward("solutions")
    made = create(directory, lessons_in=source, lessons=lessons, db_url=db, course_id=course_id)
    click.echo(f"Made the course {made.id} in {made.directory} with {', '.join(made.lessons)}.")
    first = made.lessons[0]
    click.echo(
        f"Next: cd {directory}; nbgrader release_assignment {first}; nbgrader collect {first}; sparring grade"
    )
