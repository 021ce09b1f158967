"""The report as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import io
import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from sparring_grader.feedback import points_text
from sparring_grader.report.model import LessonReport, Report

_BINS = 10
# The figure's ink, hatched part and median line on a light and on a dark page; the accents are Okabe and Ito's.
_LIGHT = {"ink": "#3d4852", "bar": "#0072b2", "median": "#c14e00", "paper": "#ffffff"}
_DARK = {"ink": "#c3ccd6", "bar": "#56b4e9", "median": "#e69f00", "paper": "#171c22"}


def render(report: Report) -> str:
    """Return the page for a report; every text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("sparring_grader"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(points=points_text, percent=_percent, plural=_plural, moment=_moment)
    figures = {lesson.lesson: _histogram(lesson) for lesson in report.lessons if lesson.rows}
    template = environment.get_template("report.html.j2")
    return template.render(report=report, figures=figures, version=version("sparring"))


def _histogram(lesson: LessonReport) -> dict[str, str]:
    """Return the distribution of a lesson's marks as two data URIs, for light and dark pages, and its alt text."""
    final = _counts(row.percent for row in lesson.rows if not row.waiting)
    open_ = _counts(row.percent for row in lesson.rows if row.waiting)
    median = statistics.median(row.percent for row in lesson.rows)
    return {
        "alt": _alt(lesson, final, open_, median),
        "light": _drawn(final, open_, median, _LIGHT),
        "dark": _drawn(final, open_, median, _DARK),
    }


def _counts(percents: Iterable[float]) -> list[int]:
    """Count into ten bins of ten percent; the last one holds 100 as well."""
    counts = [0] * _BINS
    for percent in percents:
        counts[min(int(percent * _BINS / 100), _BINS - 1)] += 1
    return counts


def _alt(lesson: LessonReport, final: Sequence[int], open_: Sequence[int], median: float) -> str:
    parts = [
        f"{count} from {10 * i} to {10 * i + 10} percent"
        for i, count in enumerate(a + b for a, b in zip(final, open_, strict=True))
        if count
    ]
    return (
        f"Histogram of the marks in {lesson.lesson}, in percent of {points_text(lesson.points)} points: "
        f"{', '.join(parts)}. Median {_percent(median)}; {sum(open_)} of {len(lesson.rows)} still wait for a person."
    )


def _drawn(final: Sequence[int], open_: Sequence[int], median: float, colors: dict[str, str]) -> str:
    ink, bar = colors["ink"], colors["bar"]
    style = {"font.size": 10, "svg.fonttype": "path", "svg.hashsalt": "sparring", "hatch.linewidth": 1.2}
    with rc_context({**style, "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink}):
        figure = Figure(figsize=(6.6, 2.7), layout="constrained", facecolor="none")
        axes = figure.add_subplot(facecolor="none")
        filled = [i for i in range(_BINS) if final[i] + open_[i]]
        left = [10 * i + 0.5 for i in filled]
        low, high = [final[i] for i in filled], [open_[i] for i in filled]
        axes.bar(left, low, width=9, align="edge", color=bar, edgecolor=bar, label="final")
        axes.bar(
            left,
            high,
            width=9,
            bottom=low,
            align="edge",
            color="none",
            edgecolor=bar,
            hatch="///",
            label="a question waits for a person",
        )
        tops = [a + b for a, b in zip(low, high, strict=True)]
        for x, top in zip(left, tops, strict=True):
            axes.annotate(str(top), (x + 4.5, top), (0, 3), textcoords="offset points", ha="center")
        top = max(tops)
        axes.set(xlim=(0, 100), ylim=(0, top * 1.45), xticks=range(0, 101, 10), yticks=[])
        axes.set_xlabel("marks (percent of the lesson's points)")
        axes.axvline(median, ymax=0.8, color=colors["median"], linewidth=2, linestyle=(0, (4, 2)))
        side = "right" if median > 50 else "left"
        axes.annotate(
            f"median {median:.0f} %",
            (median, top * 1.18),
            (-6 if side == "right" else 6, 0),
            textcoords="offset points",
            ha=side,
            color=colors["median"],
            fontweight="bold",
            bbox={"facecolor": colors["paper"], "edgecolor": "none", "pad": 1.5},
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(ink)
        if any(open_):
            axes.legend(
                loc="upper left",
                bbox_to_anchor=(0, 1.06),
                ncols=2,
                frameon=False,
                borderaxespad=0,
                handlelength=1.4,
            )
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _moment(iso: str) -> str:
    """Return an ISO time as people write it, to the minute, with its offset from UTC."""
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M %Z")
