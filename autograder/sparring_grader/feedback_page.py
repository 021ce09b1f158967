"""The feedback page of one submission, made with nbgrader's own template, in which no learner's script can run.

`harmless_markdown` takes the place of nbconvert's Markdown filter wherever nbgrader shows a learner's text: a
course's nbgrader_config.py names it in `c.HTMLExporter.filters`, which the feedback page and the formgrader obey.
"""

from __future__ import annotations

import re
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from sparring_grader import files
from sparring_grader.errors import CourseError

__all__ = ["CONFIG", "harmless_markdown", "write_feedback"]

MARKDOWN_FILTER = "sparring_grader.feedback_page.harmless_markdown"
# Raw cells hold a lesson's front matter, which is not for reading, and no answer.
CONFIG = {"HTMLExporter": {"filters": {"markdown2html": MARKDOWN_FILTER}, "exclude_raw": True}}

_TAGS = frozenset(
    {"a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt", "em"}
    | {
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "kbd",
        "li",
        "mark",
        "ol",
    }
    | {"p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot"}
    | {"th", "thead", "tr", "u", "ul", "var"}
)
# What a sparring banner and a table's alignment need; nothing that could lay one thing over another.
_STYLES = frozenset(
    {"text-align", "border", "border-left", "border-radius", "padding", "margin", "margin-top", "color"}
    | {"font-weight", "list-style"}
)
# A class that nbgrader's own scripts look for would turn a learner's text into a part of the formgrader.
_CLASSES = re.compile(
    r"(highlight|sparring-feedback|tex2jax_ignore|mathjax_ignore|language-[\w-]+|[a-z]{1,2}[a-z0-9]?)"
)
_IMAGES = re.compile(r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*")


@pass_context
def harmless_markdown(context: Context, source: str) -> str:
    """Return Markdown as HTML that runs nothing, loads nothing from elsewhere and looks like no part of nbgrader.

    A Jinja filter with the signature of nbconvert's `markdown2html`. Formatting, tables, code, math, details and
    images that lie in the notebook itself stay; scripts, event handlers, forms, frames, ids, foreign images don't.
    """
    cell = context.get("cell") or {}
    attachments = cell.get("attachments")
    return _harmless(source, attachments) if attachments else _harmless_again(source)


@lru_cache(maxsize=4096)
def _harmless_again(source: str) -> str:
    """Remember what a class has in common: most of a submission's text is the lesson's own."""
    return _harmless(source, {})


def _harmless(source: str, attachments: dict[str, Any]) -> str:
    renderer = IPythonRenderer(
        escape=False, attachments=attachments, embed_images=False, path="", exclude_anchor_links=True
    )
    html = bleach.clean(
        MarkdownWithMath(renderer=renderer).render(source),
        tags=_TAGS,
        attributes=_allowed,
        protocols=["http", "https", "mailto", "data"],
        css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES),
    )
    # The styles that nbgrader's pages bring along take the triangle away by which one sees that there is more.
    return str(html).replace("<summary>", '<summary style="display: list-item">')


def write_feedback(course_dir: Path, lesson: str, student: str) -> Path:
    """Write feedback/STUDENT/LESSON/LESSON.html from the graded notebook and the gradebook, and return its path.

    The page is the one that `nbgrader generate_feedback` makes. An old page stays whole until the new one is.

    Raises:
        CourseError: there is no graded notebook, or the course's configuration can't be read.
    """
    course = _feedback_course(course_dir.resolve())
    return course.write(lesson, student)


class _FeedbackCourse:
    """One course's exporter, made once: compiling nbgrader's templates takes longer than filling them in."""

    def __init__(self, root: Path) -> None:
        config = _course_config(root)
        self._directory = CourseDirectory(config=config)
        converter = GenerateFeedback(coursedir=self._directory, config=config)
        self._converter = converter
        self._exporter = converter.exporter_class(config=converter.config)
        for preprocessor in converter.preprocessors:
            self._exporter.register_preprocessor(preprocessor)

    def write(self, lesson: str, student: str) -> Path:
        graded = self._path(self._directory.autograded_directory, student, lesson)
        page = self._path(self._directory.feedback_directory, student, lesson)
        source = graded / f"{lesson}.ipynb"
        if not source.is_file():
            raise CourseError(
                f"there is no graded notebook {source}, so there is no feedback to write; "
                f"run `sparring grade {lesson}`"
            )
        names = {
            "student": student,
            "assignment": lesson,
            "notebook": lesson,
            "db_url": self._directory.db_url,
        }
        resources = {"unique_key": lesson, "output_files_dir": f"{lesson}_files", "nbgrader": names}
        html, _ = self._exporter.from_filename(str(source), resources=resources)
        target = page / f"{lesson}.html"
        files.write(target, html, mode=int(str(self._converter.permissions), 8))
        stamp = graded / "timestamp.txt"
        if stamp.is_file():  # by it nbgrader knows whether the page is older than the submission
            shutil.copyfile(stamp, page / "timestamp.txt")
        return target

    def _path(self, step: str, student: str, lesson: str) -> Path:
        relative = str(self._directory.format_path(step, student, lesson))
        return Path(self._directory.root, relative)


@lru_cache(maxsize=4)
def _feedback_course(root: Path) -> _FeedbackCourse:
    return _FeedbackCourse(root)


def _course_config(root: Path) -> Config:
    """Read a course's nbgrader_config.py the way nbgrader does, and put the Markdown filter in if it lacks it."""
    path = root / "nbgrader_config.py"
    if not path.is_file():
        raise CourseError(
            f"{root} is no course directory: it has no nbgrader_config.py; make one with `sparring new`"
        )
    config = Config(CONFIG)
    config.CourseDirectory.root = str(root)
    config.merge(PyFileConfigLoader(path.name, path=str(root)).load_config())
    return config


def _allowed(tag: str, name: str, value: str) -> bool:
    """Say whether an attribute may stay; bleach has looked at the protocol of links by then."""
    if name == "class":
        return all(_CLASSES.fullmatch(part) for part in value.split())
    if name == "src":
        return tag == "img" and _IMAGES.fullmatch(value) is not None
    if name == "href":
        return tag == "a" and not value.lstrip().lower().startswith("data:")
    if name in ("style", "title"):
        return True
    return (tag, name) in {
        ("img", "alt"),
        ("img", "width"),
        ("img", "height"),
        ("details", "open"),
        ("ol", "start"),
        ("td", "colspan"),
        ("td", "rowspan"),
        ("th", "colspan"),
        ("th", "rowspan"),
        ("th", "scope"),
        ("span", "aria-hidden"),
    }
