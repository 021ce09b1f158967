"""A lesson's front matter: the YAML between two `# ---` lines on top of its text, read and checked."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from sparring_grader.errors import LessonError

MODULES = ("A. Foundations", "B. Attacks", "C. Defenses", "D. Operations")
ROLES = ("AI security engineer", "ML security analyst", "data protection officer", "research scientist")
LONGEST_RUN = 60  # seconds on two CPU cores, in the fast profile
LESSON_ID = re.compile(r"\d\d_[a-z0-9]+(_[a-z0-9]+)*")


@dataclass
class Faults:
    """What is wrong with one file, collected so that its author sees everything at once."""

    path: Path
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, message: str) -> None:
        """Note a fault at a line (counted from 1); the message names what is wrong and the remedy."""
        self.found.append((line, message))

    def stop(self) -> None:
        """Raise a LessonError with all faults in the order of their lines, if there are any."""
        if self.found:
            lines = [f"{self.path}:{line}: {message}" for line, message in sorted(self.found)]
            raise LessonError("\n".join(lines))


@dataclass(frozen=True)
class FrontMatter:
    """What the front matter says, and on which line each of its keys stands."""

    values: dict[str, Any]
    lines: dict[str, int]

    def line(self, key: str) -> int:
        """Return the line of a key, or the first line of the text if the key is missing."""
        return self.lines.get(key, 1)


def read(text: str, faults: Faults) -> FrontMatter:
    """Return the front matter of a lesson's text; notes a fault, and returns an empty one, if it is none."""
    source, first = _block(text)
    if source is None:
        faults.add(1, "no front matter; start the text with YAML between two '# ---' lines")
        return FrontMatter({}, {})
    try:
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        values = yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it is not YAML"
        remedy = "put values with a colon in them in quotes"
        faults.add(first + (mark.line if mark else 0), f"the front matter can't be read: {problem}; {remedy}")
        return FrontMatter({}, {})
    if not isinstance(node, yaml.MappingNode) or not isinstance(values, dict):
        faults.add(first, "the front matter must be a table of 'key: value' lines")
        return FrontMatter({}, {})
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = first + key.start_mark.line
        if key.value in lines:
            faults.add(line, f"the front matter says {key.value!r} twice; keep one")
        lines[key.value] = line
    # JupyterLab's jupytext keeps its own settings here; they say nothing about the lesson.
    values.pop("jupyter", None)
    return FrontMatter({str(key): value for key, value in values.items()}, lines)


def check(front: FrontMatter, faults: Faults, known: Collection[str] | None = None) -> None:
    """Note every fault of the front matter.

    `known` are the ids of all lessons; without it, prerequisites are not looked up.
    """
    for key, wrong in _FIELDS.items():
        if key not in front.values:
            faults.add(1, f"the front matter lacks {key!r}; add it: {_PURPOSE[key]}")
        elif message := wrong(front.values[key]):
            faults.add(front.line(key), f"front matter, {key}: {message}")
    for key in front.values.keys() - _FIELDS.keys() - {"jupyter"}:
        faults.add(front.line(key), f"the front matter has an unknown key {key!r}; {_nearest(key, _FIELDS)}")
    _check_id(front, faults)
    _check_prerequisites(front, faults, known)


def names(taxonomy: str) -> dict[str, str]:
    """Return the names by id of "nist_ai_100_2" or "mitre_atlas"; taxonomies.json says which edition."""
    found = _taxonomies()[taxonomy]["names"]
    assert isinstance(found, dict)
    return found


def _block(text: str) -> tuple[str | None, int]:
    """Return the YAML between the first two `# ---` lines and the line number of its first line."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "# ---":
        return None, 1
    kept: list[str] = []
    for line in lines[1:]:
        if line.rstrip() == "# ---":
            return "\n".join(kept), 2
        if not line.startswith("#"):
            return None, 1
        kept.append(line[2:] if line.startswith("# ") else line[1:])
    return None, 1


@functools.cache
def _taxonomies() -> dict[str, Any]:
    file = resources.files("sparring_grader").joinpath("taxonomies.json")
    table = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(table, dict)
    return table


def _nearest(word: str, words: Collection[str]) -> str:
    """Return a remedy: the one word that was probably meant, or all of them."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(words)}"


def _text(value: object) -> str | None:
    return None if isinstance(value, str) and value.strip() else f"{value!r} is not a text"


def _list(value: object, least: int) -> str | None:
    if not isinstance(value, list) or any(_text(item) for item in value):
        return f"{value!r} is not a list of texts"
    if len(value) < least:
        return f"the list is empty; give at least {least}"
    return None


def _module(value: object) -> str | None:
    return None if value in MODULES else f"there is no module {value!r}; {_nearest(str(value), MODULES)}"


def _roles(value: object) -> str | None:
    if wrong := _list(value, 1):
        return wrong
    assert isinstance(value, list)
    for role in value:
        if role not in ROLES:
            return f"there is no role {role!r}; {_nearest(role, ROLES)}"
    return None


def _minutes(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 240:
        return None
    return f"{value!r} is not a whole number of minutes between 1 and 240"


def _seconds(value: object) -> str | None:
    if _is_number(value) and 0 < value <= LONGEST_RUN:  # type: ignore[operator]
        return None
    return f"{value!r} is not a number of seconds up to {LONGEST_RUN}; measure the fast profile on two cores"


def _points(value: object) -> str | None:
    return None if _is_number(value) and value >= 0 else f"{value!r} is not a number of points"  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _entries(taxonomy: str) -> Callable[[object], str | None]:
    def wrong(value: object) -> str | None:
        if not isinstance(value, list):
            return f"{value!r} is not a list of {{id: ..., name: ...}}"
        for entry in value:
            if not isinstance(entry, dict) or set(entry) != {"id", "name"}:
                return f"{entry!r} should be {{id: ..., name: ...}}"
            if message := _wrong_entry(taxonomy, str(entry["id"]), str(entry["name"])):
                return message
        return None

    return wrong


def _wrong_entry(taxonomy: str, identity: str, name: str) -> str | None:
    table, known = _taxonomies()[taxonomy], names(taxonomy)
    where = f"{table['title']}, {table['version']}"
    if identity not in known:
        near = difflib.get_close_matches(identity, list(known), n=3)
        hint = "; near it: " + ", ".join(f"{key} {known[key]}" for key in near) if near else ""
        return f"there is no {identity} in {where}{hint}"
    right = [known[identity]]
    parent = identity.rpartition(".")[0]
    if parent in known:  # ATLAS shows a sub-technique after its technique
        right.append(f"{known[parent]}: {known[identity]}")
    if name not in right:
        return f"{identity} is called {right[0]!r}, not {name!r}, in {where}"
    return None


_PURPOSE = {
    "id": "the name of the lesson's folder, such as 05_mlp_and_fgsm",
    "title": "what learners read on top",
    "module": "the part of the course, such as 'A. Foundations'",
    "foundation": "what it teaches of machine learning",
    "idea": "the adversarial idea it teaches that through",
    "prerequisites": "a list of lesson ids, which may be empty",
    "roles": "a list of roles that take it",
    "objectives": "a list of what a learner can do afterwards",
    "nist_ai_100_2": "a list of {id, name} from NIST AI 100-2, which may be empty",
    "mitre_atlas": "a list of {id, name} from MITRE ATLAS, which may be empty",
    "minutes": "how long a learner takes",
    "seconds": "how long the fast profile runs on two CPU cores",
    "points": "the sum of all points",
}

_FIELDS: dict[str, Callable[[object], str | None]] = {
    "id": _text,
    "title": _text,
    "module": _module,
    "foundation": _text,
    "idea": _text,
    "prerequisites": lambda value: _list(value, 0),
    "roles": _roles,
    "objectives": lambda value: _list(value, 1),
    "nist_ai_100_2": _entries("nist_ai_100_2"),
    "mitre_atlas": _entries("mitre_atlas"),
    "minutes": _minutes,
    "seconds": _seconds,
    "points": _points,
}


def _check_id(front: FrontMatter, faults: Faults) -> None:
    identity = front.values.get("id")
    if not isinstance(identity, str):
        return
    if not LESSON_ID.fullmatch(identity):
        remedy = "use two digits, then small letters and digits: 05_mlp_and_fgsm"
        faults.add(front.line("id"), f"{identity!r} can't be a lesson's id; {remedy}")
    elif (stem := faults.path.stem) != identity:
        faults.add(
            front.line("id"), f"the id is {identity!r} but the file is called {stem!r}; make them equal"
        )


def _check_prerequisites(front: FrontMatter, faults: Faults, known: Collection[str] | None) -> None:
    wanted, identity = front.values.get("prerequisites"), front.values.get("id")
    if not isinstance(wanted, list):
        return
    for item in wanted:
        if isinstance(identity, str) and isinstance(item, str) and item >= identity:
            remedy = "name lessons that come before this one"
            faults.add(
                front.line("prerequisites"), f"the prerequisite {item!r} does not come before; {remedy}"
            )
        elif known is not None and item not in known:
            message = (
                f"there is no lesson {item!r} to be a prerequisite; {_nearest(str(item), sorted(known))}"
            )
            faults.add(front.line("prerequisites"), message)
