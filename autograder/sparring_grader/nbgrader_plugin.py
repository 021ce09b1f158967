"""Grading by `nbgrader autograde` and by the formgrader's button: the same marks, by the same route.

A course's nbgrader_config.py names these two; nbgrader calls them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter

from sparring_grader import filing, intake, publish
from sparring_grader.course import open_course
from sparring_grader.errors import CourseError
from sparring_grader.grade import Task, score_submission
from sparring_grader.gradebook import Gradebook


class GradingExporter(NotebookExporter):  # type: ignore[misc]
    """Turns a submitted notebook into the graded one, and writes its scores and record on the way.

    nbgrader calls it twice: with the file in submitted/, of which nothing is trusted, and with what came of it
    in autograded/, which is passed on as it is.
    """

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return the graded notebook as JSON, and nbconvert's resources.

        Raises:
            GraderError: this is no file of the course, the wall can't be built, or the gradebook can't be written.
        """
        path = Path(filename).absolute()
        student, lesson = path.parent.parent.name, path.parent.name
        course = open_course(path.parents[3])
        resources = self._init_resources(resources)
        if path.parent == course.autograded(lesson, student):
            return path.read_text(encoding="utf-8"), resources
        if path.parent != course.submitted(lesson, student) or lesson not in course.lessons:
            raise CourseError(
                f"{path} is not submitted/STUDENT/LESSON/LESSON.ipynb of {course.directory} with one of its lessons: "
                f"{', '.join(course.lessons)}"
            )
        graded = score_submission(Task(course.directory, lesson, intake.check_student(student)))
        with Gradebook(course.db_url) as book:
            filing.enter_and_remember(course, book, graded)
        return publish.dumps(graded.notebook), resources


def take_the_lessons_notebook(*, notebooks: list[str], **_: Any) -> None:
    """Put the lesson's notebook in place of the ones found, if it is not among them.

    nbgrader passes over notebooks of other names and leaves the submission without a mark; this way it gets its
    zero, and feedback that says why. Called before each submission, as `c.Autograde.pre_convert_hook`.
    """
    folder = Path(notebooks[0]).parent
    wanted = str(folder / f"{folder.name}.ipynb")
    if wanted not in notebooks:
        notebooks[:] = [wanted]
