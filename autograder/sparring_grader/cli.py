"""The `sparring` command: one edge where mistakes become a message and exit code 2.

Commands live in `sparring_grader.commands`, one module each, and are imported only when they run or are
asked for their own help: `sparring --help` must not pay for torch or nbgrader.
"""

from __future__ import annotations

import importlib
import sys

MISSING = (
    "sparring: the Python package {!r} is not installed, and this command needs it; install what an instructor needs "
    "with: pip install 'sparring[instructor]'\n"
)

try:
    import click
except ModuleNotFoundError as missing:
    # `pip install sparring` brings the library and this command's name, and nothing that the command needs.
    sys.stderr.write(MISSING.format(missing.name))
    raise SystemExit(2) from missing

COMMANDS = {
    "publish": "Make curriculum/ from the lessons' texts, or check that it is current.",
    "new": "Make a course directory with its settings, gradebook and assignments.",
    "grade": "Grade what learners handed in, behind the wall.",
    "report": "Write one HTML page about a graded class.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and one line, and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table above, which follows a course's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command called `cmd_name`, or None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sparring_grader.commands.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sparring")
def group() -> None:
    """Publish lessons, run a course, grade it so that nobody can forge a mark."""


def main() -> None:
    """Run the command line; a user's mistake prints one message and exits with 2."""
    from sparring_grader.errors import GraderError

    try:
        group(standalone_mode=True)
    except GraderError as error:
        click.echo(f"sparring: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "sparring").startswith("sparring"):
            raise
        click.echo(MISSING.format(error.name), err=True, nl=False)
        sys.exit(2)
