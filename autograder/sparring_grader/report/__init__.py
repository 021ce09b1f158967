"""One HTML page about a graded class: marks, misunderstandings, what waits for a person, what broke."""

from sparring_grader.report.collect import collect
from sparring_grader.report.model import Grade, LessonReport, Report, summarize
from sparring_grader.report.page import render

__all__ = ["Grade", "LessonReport", "Report", "collect", "render", "summarize"]
