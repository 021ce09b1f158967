"""Making a course directory: beside its place first, then renamed, so that a failure leaves nothing half made."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparring_grader import course, files, publish, solutions
from sparring_grader.course import Course
from sparring_grader.errors import CourseError, GraderError
from sparring_grader.gradebook import Gradebook
from sparring_grader.lesson import Lesson

_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Entry)\b")
# Who has a login on this machine may pass through to the exchange, and look into nothing else.
_PRIVATE = (".sparring", "lessons", "source", "release", "submitted", "autograded", "feedback")


def create(
    directory: Path,
    *,
    lessons_in: Path,
    lessons: Sequence[str] = (),
    db_url: str | None = None,
    course_id: str | None = None,
) -> Course:
    """Make a course directory with the lessons' assignments generated, and return it.

    Raises:
        CourseError: the directory is in use, its name makes no course id, or nbgrader refuses a lesson.
        LessonError: there is no such lesson, or one of them is wrong.
        GraderError: the gradebook can't be used, or holds one of these assignments already.
    """
    target = Path(os.path.normpath(directory.absolute()))
    _refuse_if_in_use(target)
    identity = course_id or re.sub(r"[^A-Za-z0-9_.-]+", "-", target.name).strip("-_.") or "course"
    course.check_course_id(identity)
    known = solutions.find(lessons_in)
    if not known:
        raise CourseError(f"no lesson in {lessons_in}; name the folder that holds them with --solutions")
    chosen = [solutions.load(lessons_in, name) for name in solutions.choose(lessons, known, lessons_in)]
    for lesson in chosen:
        solutions.check(lesson)
    url = _full(db_url)
    if url is not None:
        _refuse_if_taken(url, chosen)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise CourseError(
            f"can't make {target}: {error.strerror}; name another place, or mend permissions"
        ) from error
    try:
        _fill(beside, identity, url, chosen)
        beside.rename(target)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise CourseError(
                f"can't make {target}: {reason}; make room or check permissions, then run this again; "
                "nothing was left behind"
            ) from error
        raise
    return course.open_course(target)


def _refuse_if_in_use(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise CourseError(f"{target} is in the way: it is no folder; name another place")
    if any(target.iterdir()):
        raise CourseError(f"{target} is not empty; name a folder that is empty or does not exist yet")


def _full(db_url: str | None) -> str | None:
    """Return the URL with what it leaves open filled in.

    An SQLite file's path is made absolute, as nbgrader is not always run where `new` was. A PostgreSQL URL names
    the driver that comes along, as which one is meant by default depends on SQLAlchemy's version.
    """
    if db_url is None:
        return None
    if match := re.match(r"postgres(ql)?:", db_url):
        return f"postgresql+psycopg2:{db_url[match.end() :]}"
    if not db_url.startswith("sqlite"):
        return db_url
    driver, _, path = db_url.partition(":///")
    if path in ("", ":memory:"):
        raise CourseError(
            f"the gradebook {db_url!r} is gone when this command ends; name a file, as in sqlite:///marks.db"
        )
    return f"{driver}:///{Path(path).absolute()}"


def _refuse_if_taken(url: str, lessons: Sequence[Lesson]) -> None:
    with Gradebook(url) as book:
        taken = book.assignments() & {lesson.id for lesson in lessons}
        if taken:
            raise GraderError(
                f"the gradebook {book.name} holds {', '.join(sorted(taken))} already, maybe of another course, and "
                "its marks must not be mixed up; give --db an empty database"
            )


def _fill(root: Path, identity: str, url: str | None, lessons: Sequence[Lesson]) -> None:
    root.chmod(0o711)
    for name in _PRIVATE:
        (root / name).mkdir(mode=0o700)
    exchange = root / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)  # what nbgrader asks of an exchange; learners hand in there
    files.write(root / ".sparring" / "secret", secrets.token_bytes(32), mode=0o600)
    files.write(root / course.ABOUT, course.describe(identity, url), mode=0o600)  # a URL may hold a password
    files.write(root / course.CONFIG, course.CONFIG_TEXT)
    for lesson in lessons:
        for path in sorted(lesson.path.parent.glob("*.py")):
            files.write(root / "lessons" / lesson.id / path.name, path.read_bytes())
        notebook = publish.dumps(publish.to_source(lesson))
        files.write(root / "source" / lesson.id / f"{lesson.id}.ipynb", notebook)
    _generate(root, [lesson.id for lesson in lessons])
    if url is None:
        (root / "gradebook.db").chmod(0o600)


def _generate(root: Path, lessons: Sequence[str]) -> None:
    """Let nbgrader make the releases, and enter the assignments into the gradebook."""
    from nbgrader.api import Gradebook as Registry
    from nbgrader.apps import NbGraderAPI
    from traitlets.config.loader import PyFileConfigLoader

    config = PyFileConfigLoader(course.CONFIG, path=str(root)).load_config()
    config.NbGraderAPI.log_level = "ERROR"
    made: list[str] = []
    try:
        with _tools_on_path():
            nbgrader = NbGraderAPI(config=config)
            for lesson in lessons:
                made.append(lesson)
                result = nbgrader.generate_assignment(lesson)
                if not result["success"]:
                    raise CourseError(f"nbgrader could not generate {lesson}: {_reason(result)}")
    except BaseException:
        # A gradebook that outlives the directory must be as empty as before, or a second try would be refused.
        with Registry(config.CourseDirectory.db_url, config.CourseDirectory.course_id) as registry:
            for lesson in made:
                if any(item.name == lesson for item in registry.assignments):
                    registry.remove_assignment(lesson)
        raise


def _reason(result: Mapping[str, Any]) -> str:
    """Return the exception that nbgrader logged, rather than the one by which it then points to its log."""
    lines = f"{result.get('error', '')}\n{result.get('log', '')}".strip().splitlines()
    errors = [line for line in lines if _EXCEPTION.match(line) and "NbGraderException" not in line]
    return (errors or lines or ["it did not say why"])[-1]


@contextmanager
def _tools_on_path() -> Iterator[None]:
    """Let nbgrader find `alembic`, which it calls by name, also where the environment is not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
