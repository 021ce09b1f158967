"""What learners read in a graded notebook: right, escaped, harmless and small."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring_grader import feedback
from sparring_grader.record import CheckResult, ExerciseScore, Record

EVIL = '<script>alert(1)</script> & "quotes" $x$ \\(y\\) **b**'
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
CLEAN = Record("01_x", "ann", "a", "b", "bubblewrap 0.8.0", "s", "2026-01-01T00:00:00+00:00", 1.0)


def a_score(*messages: str | None, reason: str | None = None) -> ExerciseScore:
    checks = tuple(
        CheckResult(f"c{i}", f"Property {i}", 0.0 if message else 1.0, 1.0, message)
        for i, message in enumerate(messages)
    )
    return ExerciseScore(
        "fgsm", "check-fgsm", sum(check.earned for check in checks), len(checks), reason, checks
    )


class Reader(HTMLParser):
    """Collects the tags and the visible text of HTML, and insists that every tag is closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in {"br", "img", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_check_cell_says_what_held_and_what_did_not_in_words():
    """Name, points, and for each hidden check its title, a word and its message: in text and in HTML alike."""
    output = feedback.check_output(a_score(None, "A pixel moved too far.", None))
    for text in (output.data["text/plain"], Reader(output.data["text/html"]).text):
        assert "Hidden checks of fgsm: 2 of 3 points" in text
        assert text.count("passed") == 2
        assert text.count("failed") == 1
        assert "Property 1 (0 of 1 point)" in text
        assert "A pixel moved too far." in text


def test_a_check_that_could_not_run_is_not_called_failed():
    """The reason stands once, and its checks are 'not run', so that nobody looks for a mistake in their answer."""
    text = feedback.check_output(a_score("too slow", "too slow", reason="too slow")).data["text/plain"]
    assert text.count("too slow") == 1
    assert text.count("– not run") == 2
    assert "failed" not in text


def test_fractions_of_points_read_like_a_person_writes_them():
    """4.0 is 4, thirds have two digits, and one point is no plural."""
    assert [feedback.points_text(points) for points in (4.0, 4 / 3, 0.5)] == ["4", "1.33", "0.5"]
    assert "0.5 of 1 point<" in feedback.check_output(ExerciseScore("e", "c", 0.5, 1)).data["text/html"]


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_of_a_stranger_becomes_markup(title, message):
    """Whatever a title or message holds, the HTML has our own tags only, and the notebook can be written as UTF-8."""
    score = replace(a_score("x"), checks=(CheckResult("c", title, 0, 1, message or "x"),), reason=title)
    output = feedback.check_output(score)
    assert set(Reader(output.data["text/html"]).tags) <= {"div", "strong", "code", "ul", "li", "span", "br"}
    json.dumps(output, ensure_ascii=False).encode("utf-8")
    cell = feedback.banner(replace(CLEAN, trouble=title, notes=(message,)))
    assert set(Reader(cell.source).tags) <= {"div", "strong", "ul", "li", "br"}
    assert "\n" not in cell.source


def test_math_and_markdown_signs_in_a_message_stay_what_they_are():
    """No Markdown or math reader finds a sign of its own in the banner or under a check."""
    cell = feedback.banner(replace(CLEAN, trouble=EVIL))
    html = feedback.check_output(a_score(EVIL)).data["text/html"]
    for text in (cell.source, html):
        assert "$" not in text
        assert "\\" not in text
        assert "mathjax_ignore" in text
        assert EVIL in Reader(text).text


def test_a_banner_stands_only_where_there_is_something_to_say():
    """Clean submissions have none; trouble, notes and a missing wall each have their own words."""
    assert feedback.banner(CLEAN) is None
    cell = feedback.banner(replace(CLEAN, wall="none", trouble="It hung.", notes=("cell a was missing",)))
    text = Reader(cell.source).text
    assert "Graded without a wall." in text
    assert "What broke: It hung." in text
    assert "cell a was missing" in text
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.validate(notebook)


def test_outputs_keep_text_errors_and_images_only():
    """Scripts, HTML, widgets, SVG and metadata that could name a file are gone; alt text and size stay."""
    data = {
        "text/plain": "a plot",
        "text/html": "<script>1</script>",
        "application/javascript": "1",
        "image/svg+xml": "<svg onload=1>",
        "image/png": PNG,
    }
    about = {
        "image/png": {"alt": "a line", "width": 3, "onerror": 1},
        "filenames": {"image/png": "/etc/passwd"},
    }
    (output,) = feedback.clean_outputs([{"output_type": "display_data", "data": data, "metadata": about}])
    assert dict(output.data) == {"text/plain": "a plot", "image/png": PNG}
    assert output.metadata == {"image/png": {"alt": "a line", "width": 3}}


@pytest.mark.parametrize(
    "image", ['x" onerror="alert(1)', "AAAA", base64.b64encode(b"<svg/>").decode(), 7, None]
)
def test_what_only_claims_to_be_an_image_is_left_out(image):
    """An image has the form and the first bytes of one, or a notice stands in its place."""
    (output,) = feedback.clean_outputs(
        [{"output_type": "display_data", "data": {"image/png": image}, "metadata": {}}]
    )
    assert "image/png" not in output.data
    assert "left out" in output.data["text/plain"]


def test_a_flood_of_outputs_is_cut_with_a_notice():
    """Many small writes become one; what lies beyond the limit is cut, and a notice says how much was allowed."""
    flood = [{"output_type": "stream", "name": "stdout", "text": "x" * 10}] * 1000
    outputs = feedback.clean_outputs(flood, limit=105)
    assert [output.text for output in outputs[:2]] == ["x" * 100, "x" * 5]
    assert "more than 105 characters" in outputs[-1].text
    assert feedback.clean_outputs(flood[:10], limit=105) == [
        nbformat.v4.new_output("stream", name="stdout", text="x" * 100)
    ]


def test_an_error_too_long_for_the_limit_keeps_its_name():
    """A learner with an endless traceback still reads what was raised."""
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["line"] * 1000}
    outputs = feedback.clean_outputs([error], limit=100)
    assert (outputs[0].ename, outputs[0].evalue, outputs[0].traceback) == (
        "ValueError",
        "no",
        ["ValueError: no"],
    )


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"output_type": "update_display_data", "data": {"text/plain": "x"}},
        {"output_type": "stream", "text": {"no": "text"}},
        {"output_type": "display_data", "data": "text", "metadata": []},
        {"output_type": "error", "ename": 3, "evalue": None, "traceback": 5},
        {"output_type": "execute_result", "data": {"text/plain": ["a", 1, "b"]}, "execution_count": "1"},
    ],
)
def test_outputs_of_no_known_form_break_nothing(output):
    """Whatever the other side of the wall sends, what is left is a valid notebook."""
    cell = nbformat.v4.new_code_cell("", outputs=feedback.clean_outputs([output]))
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))


def test_colors_of_a_terminal_stay_and_other_control_characters_go():
    """A colored traceback keeps its colors; a sequence that clears the screen or turns the text around does not."""
    text = "\x1b[31mred\x1b[0m \x1b[2J\x07 \u202etxt \ud800"
    (output,) = feedback.clean_outputs([{"output_type": "stream", "name": "stderr", "text": text}])
    assert output.text == "\x1b[31mred\x1b[0m \ufffd[2J\ufffd \ufffdtxt \ufffd"


def test_inert_markdown_holds_no_tag_and_still_reads_the_same():
    """Code and formulas with '<' lose nothing but a hair's breadth; what opened a tag opens none."""
    inert = feedback.inert_markdown("<script>x</script> $a<b$ `<p>` 1 < 2 <!-- c -->")
    assert inert == "< script>x< /script> $a< b$ `< p>` 1 < 2 < !-- c -->"
    assert Reader(inert).tags == []


def test_feedback_is_light():
    """Whoever only scores doesn't pay for nbgrader, nbconvert, torch or matplotlib."""
    heavy = "import sys, sparring_grader.feedback; print({'nbgrader', 'nbconvert', 'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
