"""Submissions that try to earn marks without the work; each must get what the honest work beneath it deserves.

A cheat takes a learner's notebook (some exercises solved, the rest as released) and changes it as a cheater
would. `tries` says what it hopes for. None of this is secret: everything here is known to work on graders that
judge a notebook by whether its test cells raise.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from nbformat import NotebookNode, v4


@dataclass(frozen=True)
class Cheat:
    """One way to cheat: a name, what it tries, and the change it makes to a notebook."""

    name: str
    tries: str
    apply: Callable[[NotebookNode], None]


CHEATS: list[Cheat] = []


def cheat(function: Callable[[NotebookNode], None]) -> Callable[[NotebookNode], None]:
    """Add a function to the list of cheats; its docstring says what it tries."""
    CHEATS.append(Cheat(function.__name__, (function.__doc__ or "").strip(), function))
    return function


def cheated(work: NotebookNode, how: Cheat) -> NotebookNode:
    """Return a copy of `work` with the cheat applied."""
    copy = deepcopy(work)
    how.apply(copy)
    return copy


def tests(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the notebook's test cells, which carry points and are locked."""
    return [cell for cell in notebook.cells if _data(cell).get("grade") and not _data(cell).get("solution")]


def answers(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells that a learner writes."""
    found = [cell for cell in notebook.cells if cell.cell_type == "code" and _data(cell).get("solution")]
    return [cell for cell in found if not _data(cell).get("grade")]


def _data(cell: NotebookNode) -> dict[str, object]:
    data: dict[str, object] = cell.metadata.get("nbgrader", {})
    return data


def _first(notebook: NotebookNode, source: str) -> None:
    """Put a code cell of the cheater's before everything else that runs."""
    place = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(place, v4.new_code_cell(source))


def _everywhere(notebook: NotebookNode, source: str) -> None:
    """Put a code cell of the cheater's before every test cell, so that it acts last."""
    for index in reversed([i for i, cell in enumerate(notebook.cells) if cell in tests(notebook)]):
        notebook.cells.insert(index, v4.new_code_cell(source))


@cheat
def skips_the_tests(notebook: NotebookNode) -> None:
    """Tags every test cell skip-execution: stock nbgrader then sees no error and gives full marks."""
    for cell in tests(notebook):
        cell.metadata["tags"] = ["skip-execution", "show"]


@cheat
def empties_the_tests(notebook: NotebookNode) -> None:
    """Replaces the tests by `assert True`."""
    for cell in tests(notebook):
        cell.source = "assert True"


@cheat
def deletes_the_tests(notebook: NotebookNode) -> None:
    """Hands in a notebook without test cells: nothing there can fail."""
    doomed = tests(notebook)
    notebook.cells = [cell for cell in notebook.cells if cell not in doomed]


@cheat
def doubles_the_tests(notebook: NotebookNode) -> None:
    """Adds an empty cell with the same grade id behind each test, to be counted in its place."""
    for cell in tests(notebook):
        twin = deepcopy(cell)
        twin.source, twin.id = "pass", v4.new_code_cell("").id
        notebook.cells.insert(notebook.cells.index(cell), twin)


@cheat
def raises_the_points(notebook: NotebookNode) -> None:
    """Writes a thousand points into the metadata of each test, and a finished score beside them."""
    for cell in tests(notebook):
        cell.metadata["nbgrader"] |= {"points": 1000, "score": 1000, "auto_score": 1000}
        cell.source = "pass"


@cheat
def forges_outputs(notebook: NotebookNode) -> None:
    """Hands in outputs that look as if every test had run and passed with full marks."""
    for cell in tests(notebook):
        cell.execution_count = 1
        cell.outputs = [v4.new_output("execute_result", data={"text/plain": "4"}, execution_count=1)]


@cheat
def retypes_cells(notebook: NotebookNode) -> None:
    """Turns test cells into text and marks them as answers to be read by a person."""
    for cell in tests(notebook):
        cell.cell_type = "markdown"
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
        cell.metadata["nbgrader"] |= {"solution": True, "locked": False}


@cheat
def removes_assertions(notebook: NotebookNode) -> None:
    """Registers an AST transformer and an input transformer that turn every assert into nothing."""
    _first(
        notebook,
        "import ast\n"
        "class Gone(ast.NodeTransformer):\n"
        "    def visit_Assert(self, node):\n"
        "        return ast.Pass()\n"
        "    def visit_Raise(self, node):\n"
        "        return ast.Pass()\n"
        "shell = get_ipython()\n"
        "shell.ast_transformers.append(Gone())\n"
        "shell.input_transformers_cleanup.append(lambda lines: [l.replace('assert ', 'None and ') for l in lines])\n",
    )


@cheat
def patches_torch(notebook: NotebookNode) -> None:
    """Makes every comparison of torch and the builtins say yes."""
    _first(
        notebook,
        "import builtins, math, torch\n"
        "yes = lambda *args, **kwargs: True\n"
        "torch.allclose = torch.equal = math.isclose = builtins.all = yes\n"
        "torch.isclose = lambda a, b, **kwargs: torch.ones_like(a, dtype=torch.bool)\n"
        "torch.testing.assert_close = yes\n"
        "torch.Tensor.allclose = torch.Tensor.equal = torch.Tensor.__eq__ = yes\n",
    )


@cheat
def answers_with_a_chameleon(notebook: NotebookNode) -> None:
    """Defines every function to return an object that equals, exceeds and contains everything."""
    names = [
        line[4:].split("(")[0]
        for cell in answers(notebook)
        for line in cell.source.splitlines()
        if line[:4] == "def "
    ]
    unsolved = {
        name for cell in answers(notebook) for name in names
        if f"def {name}(" in cell.source and "NotImplementedError" in cell.source
    }  # fmt: skip
    body = (
        "import torch\n"
        "class Chameleon(torch.Tensor):\n"
        "    __eq__ = __le__ = __lt__ = __ge__ = __gt__ = __contains__ = __bool__ = lambda *a: True\n"
        "    __hash__ = None\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, function, types, args=(), kwargs=None):\n"
        "        return True\n"
        "    def __getattr__(self, name):\n"
        "        return self\n"
    )
    body += "".join(f"def {name}(*args, **kwargs):\n    return Chameleon()\n" for name in sorted(unsolved))
    _everywhere(notebook, body)


@cheat
def forges_replies(notebook: NotebookNode) -> None:
    """Replaces the kernel's own methods, so that every failure is reported as success with a score."""
    _first(
        notebook,
        "import gc\n"
        "from sparring_grader.inside import channel\n"
        "send = channel.Channel.send\n"
        "def lie(self, header, tensors):\n"
        "    if header.get('op') in ('raised', 'cannot_cross', 'timeout'):\n"
        "        header = {'op': 'result', 'value': True, 'passed': True, 'earned': 1000, 'points': 1000, 'message': None}\n"
        "        tensors = {}\n"
        "    send(self, header, tensors)\n"
        "channel.Channel.send = lie\n",
    )


@cheat
def searches_for_the_answers(notebook: NotebookNode) -> None:
    """Walks over files, frames, the garbage collector and /proc for hidden checks, and calls what it finds."""
    _first(
        notebook,
        "import gc, os, pathlib, sys\n"
        "loot = []\n"
        "for root in ('/', '/proc/1/root', '/work', '/root', '/home', '/srv', '..'):\n"
        "    for name in ('checks.py', 'mistakes.py', 'gradebook.db', 'secret', 'nbgrader_config.py'):\n"
        "        try:\n"
        "            for folder, _, files in os.walk(root):\n"
        "                if folder.count('/') < 4 and name in files and 'sparring_grader' not in folder:\n"
        "                    loot.append(pathlib.Path(folder, name).read_bytes())\n"
        "        except OSError as error:\n"
        "            print(error)\n"
        "frame = sys._getframe()\n"
        "while frame:\n"
        "    loot += [v for k, v in frame.f_locals.items() if 'expected' in k or 'hidden' in k]\n"
        "    frame = frame.f_back\n"
        "loot += [o for o in gc.get_objects() if type(o).__name__ in ('HiddenCheck', 'Record', 'Seed')]\n"
        "for item in loot:\n"
        "    if isinstance(item, bytes) and b'BEGIN SOLUTION' in item:\n"
        "        exec(item)\n",
    )


@cheat
def leaves_early(notebook: NotebookNode) -> None:
    """Ends the process with code 0 before the last test, as if all had been well."""
    index = notebook.cells.index(tests(notebook)[-1])
    notebook.cells.insert(index, v4.new_code_cell("import os\nos._exit(0)"))


@cheat
def shadows_modules(notebook: NotebookNode) -> None:
    """Writes modules of its own called torch, sparring and sitecustomize, and a startup file for the kernel."""
    _first(
        notebook,
        "import os, pathlib, sys\n"
        "for name in ('torch', 'sparring', 'sparring_grader', 'sitecustomize', 'safetensors'):\n"
        "    pathlib.Path(name + '.py').write_text('allclose = equal = lambda *a, **k: True')\n"
        "folder = pathlib.Path.home() / '.ipython/profile_default/startup'\n"
        "folder.mkdir(parents=True, exist_ok=True)\n"
        "(folder / '00.py').write_text('raise SystemExit(0)')\n",
    )
