"""What lessons.md asks of every lesson, as functions: each returns what is wrong, an empty list if nothing is."""

import ast
import html.parser
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

from sparring_grader import solutions
from sparring_grader.lesson import BEGIN, END
from sparring_grader.publish import dumps
from sparring_grader.wall import find_bubblewrap

REPOSITORY = Path(__file__).parents[2]
SOLUTIONS = REPOSITORY / "solutions"
LESSONS = list(solutions.find(SOLUTIONS))
RUNNER = Path(__file__).with_name("papermill_offline.py")
TELLING = 25  # characters from which on a line of code is too particular to be found elsewhere by chance


@dataclass(frozen=True)
class Run:
    """A notebook after papermill ran it: exit code, message on standard error, processor seconds, and outputs."""

    code: int
    message: str
    seconds: float
    path: Path

    @property
    def notebook(self):
        return nbformat.read(self.path, as_version=4)


def run_offline(notebook, folder, **parameters):
    """Run a notebook with papermill behind a network namespace of its own, in `folder`, with an empty home."""
    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / "given.ipynb", folder / "run.ipynb"
    source.write_text(dumps(notebook), encoding="utf-8")
    bubblewrap, _ = find_bubblewrap()
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SPARRING_", "XDG_"))
    }
    environment |= {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
    command = [
        bubblewrap,
        "--unshare-net",
        "--dev-bind",
        "/",
        "/",
        "--die-with-parent",
        "--chdir",
        str(folder),
    ]
    command += [sys.executable, str(RUNNER), str(source), str(target), json.dumps(parameters)]
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    after = os.times()
    # Processor time, since a busy machine stretches the clock's.
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    lines = done.stderr.strip().splitlines()
    return Run(done.returncode, lines[-1] if lines else "", seconds, target)


def secrets(lesson, checks):
    """Return the telling lines of the lesson's solutions, reference answers and hidden checks, each with its place."""
    found = {}
    for cell in lesson.cells:
        if cell.kind == "exercise":
            for line in solution_lines(cell.source):
                found.setdefault(line, f"the solution of {cell.name}")
        elif cell.kind == "question":
            for line in cell.source.splitlines():
                found.setdefault(line.strip(), f"the answer to {cell.name}")
    text = checks.read_text(encoding="utf-8")
    for function in ast.parse(text).body:
        if isinstance(function, ast.FunctionDef) and function.decorator_list:
            first = function.body[1].lineno if ast.get_docstring(function) else function.body[0].lineno
            for line in text.splitlines()[first - 1 : function.end_lineno]:
                found.setdefault(line.strip(), f"the hidden check {function.name}")
    return {line: place for line, place in found.items() if len(line) >= TELLING}


def solution_lines(source):
    """Return the stripped lines between BEGIN SOLUTION and END SOLUTION."""
    inside, lines = False, []
    for line in source.splitlines():
        if BEGIN in line:
            inside = True
        elif END in line:
            inside = False
        elif inside:
            lines.append(line.strip())
    return lines


def leaks(lesson, release, checks):
    """Find lines of solutions, reference answers and hidden checks in the release."""
    hidden = secrets(lesson, checks)
    return [
        f"{hidden[line.strip()]} is found in cell {cell.id}: {line.strip()}"
        for cell in release.cells
        for line in cell.source.splitlines()
        if line.strip() in hidden
    ]


def headings(notebook):
    """Find headings out of order: one title on top, and no level skipped on the way down."""
    wrong, level, titles = [], 0, 0
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        text = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        for marks, words in re.findall(r"^(#{1,6})\s+(.*)", text, flags=re.MULTILINE):
            if len(marks) > level + 1:
                wrong.append(f"'{words}' is of level {len(marks)}, below level {level}")
            titles += len(marks) == 1
            level = len(marks)
    return wrong + ([] if titles == 1 else [f"{titles} headings of level 1 instead of one"])


class _Images(html.parser.HTMLParser):
    """Collects the `<img>` tags of a text that have no alt text."""

    def __init__(self):
        super().__init__()
        self.bare = []

    def handle_starttag(self, tag, attrs):
        if tag == "img" and not (dict(attrs).get("alt") or "").strip():
            self.bare.append(self.get_starttag_text()[:80])


def images_without_alt(notebook):
    """Find pictures without alt text: in text cells, in HTML outputs, and image outputs themselves."""
    wrong = []
    for cell in notebook.cells:
        texts = [cell.source] if cell.cell_type == "markdown" else []
        wrong += [
            f"{cell.id}: ![]({target})" for text in texts for target in re.findall(r"!\[\s*\]\((.*?)\)", text)
        ]
        for output in cell.get("outputs", []):
            data, metadata = output.get("data", {}), output.get("metadata", {})
            texts += ["".join(data[kind]) for kind in ("text/html", "text/markdown") if kind in data]
            for kind in data:
                if kind.startswith("image/") and not str(metadata.get(kind, {}).get("alt", "")).strip():
                    wrong.append(f"{cell.id}: an output of type {kind}")
        for text in texts:
            parser = _Images()
            parser.feed(text)
            wrong += [f"{cell.id}: {tag}" for tag in parser.bare]
    return wrong


def stderr(notebook):
    """Find what cells wrote to standard error."""
    return [
        f"{cell.id}: {output.text.strip()[:200]}"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]


def values_of_checks(notebook):
    """Find check cells that end in a value: nbgrader would take it for the marks that were earned."""
    return [
        f"{cell.id} shows {output.data.get('text/plain')}"
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
        for output in cell.get("outputs", [])
        if output.output_type == "execute_result"
    ]


def anatomy(lesson):
    """Find what is missing of a lesson's anatomy: its exercises' heads and hints, its question, quiz, checklist."""
    wrong = []
    text = ""
    number = 0
    for cell in lesson.cells:
        if cell.kind == "markdown":
            text += cell.source + "\n"
        if cell.kind != "exercise":
            continue
        number += 1
        _, head, body = text.rpartition(f"### Exercise {number}: ")
        if not head:
            wrong.append(f"{cell.name} has no heading '### Exercise {number}: ...' before it")
            continue
        if not re.search(r"\*Difficulty: [●○]{3} · \d+ minutes\*", body):
            wrong.append(f"{cell.name} does not say '*Difficulty: ●●○ · 10 minutes*'")
        hints = re.findall(r"<details>\s*<summary>Hint (\d)", body)
        if hints != ["1", "2", "3"]:
            wrong.append(f"{cell.name} has hints {hints}, not 1, 2 and 3, each folded away")
    if len(lesson.questions) != 1:
        wrong.append(f"{len(lesson.questions)} questions for a person to mark instead of one")
    if number not in (4, 5):
        wrong.append(f"{number} exercises instead of 4 or 5")
    items = re.findall(r"\*\*Question (\d)\.", text)
    if items != ["1", "2", "3", "4"]:
        wrong.append(f"quiz items {items} instead of 1 to 4")
    if "I can now" not in text:
        wrong.append("no checklist 'I can now ...'")
    if "Predict first" not in text:
        wrong.append("no section 'Predict first'")
    if (words := theory_words(text)) > 600:
        wrong.append(f"{words} words of theory; at most 600")
    return wrong


def theory_words(text):
    """Count the words of the section 'Theory', formulas and tables left out."""
    section = re.search(r"^## Theory\s*\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if section is None:
        return 0
    plain = re.sub(
        r"\$\$.*?\$\$|\$[^$]*\$|^\|.*$|\]\([^)]*\)", " ", section.group(1), flags=re.DOTALL | re.MULTILINE
    )
    return len(re.findall(r"[A-Za-z][A-Za-z'’-]*", plain))


def validation(path):
    """Return what nbgrader's own validation finds wrong in a notebook as it was run."""
    from nbgrader.preprocessors import CheckCellMetadata
    from nbgrader.validator import Validator

    # Without its own step Execute, it judges the outputs that are there, from one run instead of two.
    found = Validator(preprocessors=[CheckCellMetadata]).validate(str(path))
    return [
        f"{kind}: {cell.get('raw_error', cell['source'])[:300]}"
        for kind, cells in found.items()
        for cell in cells
    ]
