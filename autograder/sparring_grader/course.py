"""A course directory: where its parts are, how nbgrader is told to work in it, and whether it is one at all."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparring_grader.errors import CourseError
from sparring_grader.wall import Limits

FORMAT = 1
ABOUT = "course.json"
CONFIG = "nbgrader_config.py"
CONFIG_TEXT = """\
# `sparring new` wrote this file. Settings of your own go below the last line, and win over its.
from pathlib import Path

try:
    from sparring_grader.course import configure
except ImportError as error:
    # Without it nbgrader would go on with its defaults, and run what learners wrote without a wall.
    raise SystemExit("this course needs sparring: pip install 'sparring[instructor]'") from error

c = get_config()  # noqa: F821 - nbgrader provides it
configure(c, Path(__file__).parent)
"""

# nbgrader puts ids between "+" in the file names of its exchange, and into globs.
_COURSE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Course:
    """A course directory that `sparring new` made: its name, its gradebook's URL, and the paths in it.

    `limits` are what one submission may use; course.json may hold others than the defaults.
    """

    directory: Path
    id: str
    db_url: str
    limits: Limits = field(default_factory=Limits)

    @property
    def lessons(self) -> tuple[str, ...]:
        """The ids of the lessons that have a release and hidden checks, in order."""
        folders = sorted(path.name for path in (self.directory / "lessons").glob("[!._]*"))
        return tuple(name for name in folders if self.master(name).is_file() and self.checks(name).is_file())

    @property
    def secret(self) -> bytes:
        """The secret that the fresh inputs of hidden checks are drawn from; raises CourseError without one."""
        path = self.directory / ".sparring" / "secret"
        try:
            secret = path.read_bytes()
        except OSError as error:
            raise CourseError(
                f"can't read the course's secret {path}: {error.strerror}; marks are drawn from it, so put it back "
                "from a copy, or make a new course"
            ) from error
        if len(secret) < 16:
            raise CourseError(
                f"{path} holds {len(secret)} bytes, and a secret has at least 16; put it back from a copy"
            )
        return secret

    @property
    def records(self) -> Path:
        """The folder of LESSON/STUDENT.json: what grading left behind about each submission."""
        return self.directory / ".sparring" / "records"

    def record(self, lesson: str, student: str) -> Path:
        """What grading left behind about a submission."""
        return self.records / lesson / f"{student}.json"

    def master(self, lesson: str) -> Path:
        """The notebook that learners were given, on which submissions are rebuilt."""
        return self.directory / "release" / lesson / f"{lesson}.ipynb"

    def checks(self, lesson: str) -> Path:
        """The lesson's hidden checks."""
        return self.directory / "lessons" / lesson / "checks.py"

    def submitted(self, lesson: str, student: str) -> Path:
        """The folder that holds what a learner handed in."""
        return self.directory / "submitted" / student / lesson

    def autograded(self, lesson: str, student: str) -> Path:
        """The folder of the graded notebook, which the formgrader shows."""
        return self.directory / "autograded" / student / lesson

    def feedback(self, lesson: str, student: str) -> Path:
        """The page that the learner gets back."""
        return self.directory / "feedback" / student / lesson / f"{lesson}.html"


def open_course(directory: Path | str) -> Course:
    """Return the course in this directory.

    Raises:
        CourseError: it is no course directory, is damaged, or was made by a newer version.
    """
    root = Path(directory).absolute()
    path = root / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CourseError(
            f"{root} is no course directory: it has no {ABOUT}; go to one, name one with --course DIR, or make one "
            "with `sparring new DIR`"
        ) from None
    except OSError as error:
        raise CourseError(f"can't read {path}: {error.strerror}; check its permissions") from error
    except ValueError as error:
        raise CourseError(f"{path} is damaged ({error}); put it back from a copy") from None
    about = about if isinstance(about, dict) else {}
    made = about.get("format")
    if isinstance(made, int) and made > FORMAT:
        raise CourseError(
            f"{root} was made by a newer version of sparring (format {made}, this one knows {FORMAT}); upgrade "
            "with: pip install --upgrade 'sparring[instructor]'"
        )
    identity, url = about.get("course"), about.get("gradebook")
    if made != FORMAT or not isinstance(identity, str) or not isinstance(url, str | None):
        raise CourseError(
            f"{path} is damaged: it lacks a format of {FORMAT}, a course, or a gradebook; put it back from a copy"
        )
    check_course_id(identity)
    return Course(root, identity, url or default_db_url(root), _limits(path, about.get("limits", {})))


def find_course(start: Path) -> Course:
    """Return the course in this directory, or in the nearest one above it; raises CourseError as `open_course`."""
    here = start.absolute()
    return open_course(next((place for place in (here, *here.parents) if (place / ABOUT).is_file()), here))


def describe(identity: str, db_url: str | None) -> str:
    """Return the text of course.json; a gradebook of None is the file in the directory, wherever that is moved."""
    return json.dumps({"course": identity, "format": FORMAT, "gradebook": db_url}, indent=1) + "\n"


def default_db_url(root: Path) -> str:
    """Return the URL of the gradebook that lies in the course directory."""
    return f"sqlite:///{root / 'gradebook.db'}"


def check_course_id(identity: str) -> None:
    """Refuse a course id that nbgrader could not put into a file name; raises CourseError."""
    if not _COURSE_ID.fullmatch(identity):
        raise CourseError(
            f"the course id {identity[:80]!r} can't be used: take 1 to 64 letters a-z, digits, '_', '.' and '-', "
            "beginning with a letter or digit (--course-id)"
        )


def configure(c: Any, directory: Path | str) -> None:
    """Tell nbgrader how to work in this course: its paths, its gradebook, and that `sparring` does the grading.

    Exits with a message where the directory is no sound course: nbgrader would log an exception in its
    configuration and go on with its defaults, which run submissions without a wall.
    """
    try:
        course = open_course(directory)
    except CourseError as error:
        raise SystemExit(f"sparring: {error}") from error
    c.CourseDirectory.root = str(course.directory)
    c.CourseDirectory.course_id = course.id
    c.CourseDirectory.db_url = course.db_url
    c.Exchange.root = str(course.directory / "exchange")
    c.ExchangeFactory.collect = "sparring_grader.collecting.Collect"
    # The exporter does all the grading; nbgrader's own steps would run the notebook without a wall.
    c.Autograde.exporter_class = "sparring_grader.nbgrader_plugin.GradingExporter"
    c.Autograde.pre_convert_hook = "sparring_grader.nbgrader_plugin.take_the_lessons_notebook"
    c.Autograde.sanitize_preprocessors = []
    c.Autograde.autograde_preprocessors = []
    c.HTMLExporter.filters = {"markdown2html": "sparring_grader.feedback_page.harmless_markdown"}
    c.HTMLExporter.exclude_raw = True  # a lesson's front matter


def _limits(path: Path, given: Any) -> Limits:
    known = {item.name: item.type for item in dataclasses.fields(Limits)}
    given = given if isinstance(given, dict) else {"limits": given}
    for name, value in given.items():
        if name not in known:
            raise CourseError(f"{path}: there is no limit {name!r}; there are: {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise CourseError(f"{path}: the limit {name} is {value!r}; it must be a number above 0")
    kinds: dict[Any, Any] = {"float": float, "int": int}
    return Limits(**{name: kinds[known[name]](value) for name, value in given.items()})
