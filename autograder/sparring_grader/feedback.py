"""What learners read in a graded notebook: the outcome of hidden checks, and what had to be put right.

Everything here is text that came from strangers, so it is escaped once, here, and in a way that holds in
nbgrader's feedback page, in its formgrader and in JupyterLab alike.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output

from sparring_grader.record import CheckResult, ExerciseScore, Record

__all__ = ["BANNER_ID", "banner", "check_output", "clean_outputs", "inert_markdown", "points_text"]

BANNER_ID = "sparring-banner"

# After Okabe and Ito. Marks and edges only: nothing is said by color alone, and text keeps the reader's own color.
_GOOD, _BAD, _CALM = "#008a63", "#d55e00", "#0072b2"

# MathJax 2 and 3 leave elements of these classes alone: a message that says "$x$" means just that.
_NO_MATH = "tex2jax_ignore mathjax_ignore"

_SIGNATURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_COLOR_CODE = re.compile(r"\x1b\[[0-9;]{0,32}m")
_TAG_START = re.compile(r"<(?=[A-Za-z/!?])")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing, and so can make text read otherwise
    "\ud800-\udfff]"  # halves of surrogate pairs, which can't be written as UTF-8
)


def points_text(points: float) -> str:
    """Return points the way a person writes them: 4, 0.5, 1.33."""
    return f"{round(points, 2):g}"


def check_output(score: ExerciseScore) -> NotebookNode:
    """Return the output that stands under an exercise's check cell: which hidden checks held, and why not."""
    lines = [f"Hidden checks of {_plain(score.exercise)}: {_of(score.earned, score.points)}"]
    if score.reason is not None:
        lines.append(_indented("The checks could not run: " + score.reason, "  "))
    for check in score.checks:
        mark, word, _ = _verdict(check, score.reason)
        title = _plain(check.title).replace("\n", " ")
        lines.append(f"  {mark} {word}  {title} ({_of(check.earned, check.points)})")
        if check.message and check.message != score.reason:
            lines.append(_indented(check.message, " " * 12))
    return new_output("display_data", data={"text/plain": "\n".join(lines), "text/html": _check_html(score)})


def banner(record: Record) -> NotebookNode | None:
    """Return the cell that opens a graded notebook when something broke, was noted, or ran without a wall.

    None when there is nothing to say.
    """
    parts = []
    if record.wall == "none":
        parts.append(
            _box(
                _BAD,
                "<strong>Graded without a wall.</strong> Nothing kept this notebook's code away from the machine "
                "that graded it, so these marks are only as trustworthy as the class.",
            )
        )
    if record.trouble is not None:
        parts.append(_box(_BAD, f"<strong>What broke:</strong> {_inert(record.trouble)}"))
    if record.notes:
        notes = "".join(f"<li>{_inert(note)}</li>" for note in record.notes)
        parts.append(_box(_CALM, f"<strong>What grading noted about this notebook:</strong><ul>{notes}</ul>"))
    if not parts:
        return None
    # One HTML block without a blank line: no Markdown reader looks for marks of its own inside of it.
    cell = new_markdown_cell("".join(parts), id=BANNER_ID)
    cell.metadata.update({"deletable": False, "editable": False, "tags": [BANNER_ID]})
    return cell


def inert_markdown(source: str) -> str:
    """Return a learner's Markdown in which nothing is a tag any more.

    A space after each "<" that could open one: HTML then takes it for text, while code and formulas, where the
    usual `&lt;` would show as it is written, read as before. So the graded notebook itself is harmless, whatever
    shows it with whatever settings.
    """
    return _TAG_START.sub("< ", source)


def clean_outputs(outputs: Iterable[Mapping[str, Any]], limit: int = 100_000) -> list[NotebookNode]:
    """Return a learner's outputs made harmless and small.

    Plain text, errors, PNG and JPEG images stay; markup, scripts, widgets and metadata other than an image's
    alt text and size don't. `limit` counts characters over all the outputs (an image counts as its base64 text);
    what lies beyond is cut and a notice says so.
    """
    cleaned: list[NotebookNode] = []
    left = limit
    for output in outputs:
        safe = _clean_output(output)
        if safe is None:
            continue
        size = _size(safe)
        if size > left:
            shortened = _shortened(safe, left)
            cleaned.extend([] if shortened is None else [shortened])
            cleaned.append(_notice(f"[Output cut here: this cell put out more than {limit} characters.]"))
            break
        left -= size
        last = cleaned[-1] if cleaned else None
        if last is not None and safe.output_type == last.output_type == "stream" and safe.name == last.name:
            last.text += safe.text
        else:
            cleaned.append(safe)
    return cleaned


def _clean_output(output: Mapping[str, Any]) -> NotebookNode | None:
    """Rebuild one output from the parts that are known to be harmless; None when nothing of it can stay."""
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        text = _text(output.get("text"))
        return new_output("stream", name=name, text=text) if text else None
    if kind == "error":
        traceback = output.get("traceback")
        lines = [_text(line) for line in traceback] if isinstance(traceback, list | tuple) else []
        return new_output(
            "error", ename=_text(output.get("ename")), evalue=_text(output.get("evalue")), traceback=lines
        )
    if kind not in ("display_data", "execute_result"):
        return None
    data, metadata = _clean_bundle(output.get("data"), output.get("metadata"))
    if not data:
        return None
    result = new_output(kind, data=data, metadata=metadata)
    if kind == "execute_result":
        count = output.get("execution_count")
        result.execution_count = count if type(count) is int else None
    return result


def _clean_bundle(data: Any, metadata: Any) -> tuple[dict[str, str], dict[str, Any]]:
    if not isinstance(data, Mapping):
        return {}, {}
    kept: dict[str, str] = {}
    about: dict[str, Any] = {}
    for mime, signature in _SIGNATURES.items():
        encoded = re.sub(r"\s+", "", _text(data.get(mime)))
        if encoded and _decodes(encoded, signature):
            kept[mime] = encoded
            described = metadata.get(mime) if isinstance(metadata, Mapping) else None
            if isinstance(described, Mapping):
                about[mime] = _image_metadata(described)
    text = _text(data.get("text/plain"))
    if text:
        kept["text/plain"] = text
    elif not kept and data:
        kinds = ", ".join(sorted(_plain(str(mime))[:40] for mime in data)[:5])
        kept["text/plain"] = f"[An output was left out: {kinds} is not shown in graded notebooks.]"
    return kept, about


def _image_metadata(described: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        side: described[side]
        for side in ("width", "height")
        if type(described.get(side)) is int and 0 < described[side] < 10_000
    }
    if isinstance(described.get("alt"), str):
        kept["alt"] = _plain(described["alt"])[:1000]
    return kept


def _decodes(encoded: str, signature: bytes) -> bool:
    try:
        return base64.b64decode(encoded, validate=True).startswith(signature)
    except (binascii.Error, ValueError):
        return False


def _text(value: Any) -> str:
    """Return a text that may come as a list of lines; terminal color codes stay, other control characters go."""
    if isinstance(value, list | tuple):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    codes = _COLOR_CODE.findall(value)
    pieces = [_plain(piece) for piece in _COLOR_CODE.split(value)]
    return pieces[0] + "".join(code + piece for code, piece in zip(codes, pieces[1:], strict=True))


def _plain(text: str) -> str:
    """Return text without control characters, for places where not even a color code belongs."""
    return _UNPRINTABLE.sub("\ufffd", _COLOR_CODE.sub("", text))


def _size(output: NotebookNode) -> int:
    if output.output_type == "stream":
        return len(output.text)
    if output.output_type == "error":
        return len(output.ename) + len(output.evalue) + sum(len(line) + 1 for line in output.traceback)
    return sum(len(value) for value in output.data.values())


def _shortened(output: NotebookNode, left: int) -> NotebookNode | None:
    """Return as much of an output as fits; an image that doesn't fit goes whole, an error keeps its name."""
    if output.output_type == "stream":
        return new_output("stream", name=output.name, text=output.text[:left]) if left else None
    if output.output_type == "error":
        ename, evalue = output.ename[:200], output.evalue[:1000]
        return new_output("error", ename=ename, evalue=evalue, traceback=[f"{ename}: {evalue}"])
    text = output.data.get("text/plain", "")[:left]
    return new_output("display_data", data={"text/plain": text}) if text else None


def _notice(text: str) -> NotebookNode:
    return new_output("stream", name="stderr", text=f"\n{text}\n")


def _of(earned: float, points: float) -> str:
    return f"{points_text(earned)} of {points_text(points)} point{'' if points == 1 else 's'}"


def _verdict(check: CheckResult, reason: str | None) -> tuple[str, str, str]:
    """Return a check's mark, word and color; one that failed for the exercise's own reason has not run."""
    if check.passed:
        return "✓", "passed", _GOOD
    return ("–", "not run", _CALM) if check.message == reason else ("✗", "failed", _BAD)


def _indented(text: str, indent: str) -> str:
    return "\n".join(indent + line for line in _plain(text).splitlines())


def _check_html(score: ExerciseScore) -> str:
    whole = score.reason is None and score.earned >= score.points
    parts = [
        f"<strong>Hidden checks of <code>{_inert(score.exercise)}</code>: {_of(score.earned, score.points)}</strong>"
    ]
    if score.reason is not None:
        parts.append(f'<div style="margin-top: 6px">The checks could not run: {_inert(score.reason)}</div>')
    if score.checks:
        items = "".join(_check_item(check, score.reason) for check in score.checks)
        parts.append(f'<ul style="list-style: none; margin: 6px 0 0 0; padding: 0">{items}</ul>')
    return _box(_GOOD if whole else _BAD, "".join(parts))


def _check_item(check: CheckResult, reason: str | None) -> str:
    mark, word, color = _verdict(check, reason)
    message = ""
    if check.message and check.message != reason:
        message = f'<div style="margin: 2px 0 4px 24px">{_inert(check.message)}</div>'
    return (
        f'<li style="margin: 4px 0"><span style="color: {color}; font-weight: bold" aria-hidden="true">{mark}</span> '
        f"<strong>{word}</strong> · "
        f"{_inert(check.title)} ({_of(check.earned, check.points)}){message}</li>"
    )


def _box(color: str, content: str) -> str:
    """Return a block with a colored edge; only styles that JupyterLab keeps in a notebook it doesn't trust."""
    return (
        f'<div class="sparring-feedback {_NO_MATH}" style="border: 1px solid #8888; border-left: 5px solid {color}; '
        f'border-radius: 3px; padding: 8px 12px; margin: 6px 0; text-align: left">{content}</div>'
    )


def _inert(text: str) -> str:
    """Return text as HTML that neither a browser nor a Markdown or math reader takes for anything else."""
    shown = escape(_plain(text).strip(), quote=True).replace("$", "&#36;").replace("\\", "&#92;")
    return "<br>".join(shown.splitlines())
