"""What a cell showed, rebuilt from frames as a notebook's outputs, with a cap on its size."""

from __future__ import annotations

import json
from typing import Any

import nbformat.v4
from nbformat import NotebookNode


class Outputs:
    """Collects a cell's outputs; past `limit` bytes it keeps what it has and says that more was left out."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._full = False
        self._clear = False
        self._shown: dict[str, NotebookNode] = {}
        self.cells: list[NotebookNode] = []

    def add(self, frame: dict[str, Any]) -> None:
        """Take one output frame; whatever in it is not of the form it should be is left out."""
        if frame.get("kind") == "clear":
            self._clear = bool(frame.get("wait"))
            if not self._clear:
                self.cells.clear()
            return
        if self._clear:
            self.cells.clear()
            self._clear = False
        if self._full:
            return
        size = len(json.dumps(frame))
        if self._size + size > self._limit:
            self._full = True
            self._stream("stderr", f"[more than {self._limit >> 10} KiB of output; the rest was left out]\n")
            return
        self._size += size
        kind = frame.get("kind")
        if kind == "stream" and frame.get("name") in ("stdout", "stderr"):
            self._stream(frame["name"], str(frame.get("text", "")))
        elif kind in ("display_data", "execute_result"):
            self._display(kind, frame)
        elif kind == "error":
            lines = frame.get("traceback")
            trace = [str(line) for line in lines] if isinstance(lines, list) else []
            self.error(str(frame.get("ename", "Error")), str(frame.get("evalue", "")), trace)

    def error(self, name: str, value: str, trace: list[str] | None = None) -> None:
        """Add an error output."""
        lines = trace or [f"{name}: {value}"]
        self.cells.append(nbformat.v4.new_output("error", ename=name, evalue=value, traceback=lines))

    def _stream(self, name: str, text: str) -> None:
        if self.cells and self.cells[-1].get("name") == name:
            self.cells[-1].text += text
        else:
            self.cells.append(nbformat.v4.new_output("stream", name=name, text=text))

    def _display(self, kind: str, frame: dict[str, Any]) -> None:
        data = {key: item for key, item in _dict(frame.get("data")).items() if _fits(key, item)}
        metadata = _dict(frame.get("metadata"))
        identity = frame.get("display_id")
        if frame.get("update"):
            earlier = self._shown.get(identity) if isinstance(identity, str) else None
            if earlier is not None:
                earlier.data, earlier.metadata = NotebookNode(data), NotebookNode(metadata)
            return
        output = nbformat.v4.new_output(kind, data=data, metadata=metadata)
        if isinstance(identity, str):
            self._shown[identity] = output
        self.cells.append(output)


def _fits(key: str, item: Any) -> bool:
    """Whether nbformat takes this: text for every type, and JSON for those that say so."""
    return isinstance(item, str) or key == "application/json" or key.endswith("+json")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
