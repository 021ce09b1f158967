"""An IPython kernel's shell whose outputs go to the grader as frames instead of to Jupyter's sockets.

It is IPython's own `InteractiveShell`, so magics, rich display, top-level await and tracebacks are those that a
learner sees in JupyterLab. Only the transport differs: one socket to the grader, which caps what it takes.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from types import FrameType
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any as AnyTrait
from traitlets import Type
from traitlets.config import Config

from sparring_grader import wire
from sparring_grader.inside.channel import Channel

MAX_TEXT = 1 << 20


class CellTimeout(BaseException):
    """The time of a cell or a call is up; no `except Exception` stops it."""


class Stream(io.TextIOBase):
    """A text stream that sends what is written to the grader, in pieces that a frame can hold."""

    def __init__(self, channel: Channel, name: str) -> None:
        super().__init__()
        self._channel = channel
        self._name = name
        self.quiet = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8, as in a Jupyter kernel."""
        return "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Never; so that progress bars stay short."""
        return False

    def write(self, text: str) -> int:
        """Send `text`; while a hidden check calls a function, drop it, as nobody would read it."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text and not self.quiet:
            safe = text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
            self._channel.send({"op": "output", "kind": "stream", "name": self._name, "text": safe}, {})
        return len(text)


class Publisher(DisplayPublisher):  # type: ignore[misc]
    """Sends what `display` shows."""

    channel = AnyTrait(None)

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        """Send one display; an update of an earlier display replaces it."""
        identity = (transient or {}).get("display_id")
        frame = {
            "op": "output",
            "kind": "display_data",
            "data": _plain(data),
            "metadata": _plain(metadata or {}),
            "display_id": identity if isinstance(identity, str) else None,
            "update": bool(update),
        }
        _send(self.channel, frame)

    def clear_output(self, wait: bool = False) -> None:
        """Forget what this cell has shown so far."""
        _send(self.channel, {"op": "output", "kind": "clear", "wait": bool(wait)})


class Hook(DisplayHook):  # type: ignore[misc]
    """Sends the value of a cell's last expression."""

    def write_output_prompt(self) -> None:
        """Write nothing; the notebook shows the count."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Send the representations of a result."""
        frame = {
            "op": "output",
            "kind": "execute_result",
            "data": _plain(format_dict),
            "metadata": _plain(md_dict or {}),
        }
        _send(self.shell.display_pub.channel, frame)

    def finish_displayhook(self) -> None:
        """Write nothing more; IPython would print a newline."""


class Shell(InteractiveShell):  # type: ignore[misc]
    """The shell that runs a submission's cells."""

    displayhook_class = Type(Hook)
    display_pub_class = Type(Publisher)

    def __init__(self, **kwargs: Any) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.HistoryManager.hist_file = ":memory:"
        config.InteractiveShell.colors = "nocolor"
        config.InteractiveShell.cache_size = 0
        super().__init__(config=config, **kwargs)

    def attach(self, channel: Channel) -> None:
        """Send outputs to `channel`, answer `input()` as a notebook without a person does, and heed the alarm."""
        self.channel = channel
        self.display_pub.channel = channel
        self.streams = (Stream(channel, "stdout"), Stream(channel, "stderr"))
        sys.stdout, sys.stderr = self.streams
        builtins.input = _no_input
        signal.signal(signal.SIGALRM, _time_is_up)
        # What a C library or a child process writes goes nowhere: fd 1 and 2 belong to nobody behind the wall.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)

    def quiet(self, on: bool) -> None:
        """Drop prints while a hidden check calls a learner's function."""
        for stream in self.streams:
            stream.quiet = on

    def run(self, source: str) -> bool:
        """Run one cell and return whether it raised."""
        result = self.run_cell(source, store_history=True)
        if isinstance(result.error_in_exec, CellTimeout):
            raise CellTimeout
        return not result.success

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        if issubclass(etype, CellTimeout):
            return  # the grader says so itself, with the limit
        try:
            message = str(evalue)
        except Exception:  # noqa: BLE001 - a learner's exception may have a broken __str__
            message = "(its message can't be shown)"
        lines = [str(line)[:20_000] for line in stb[:200]]
        frame = {
            "op": "output",
            "kind": "error",
            "ename": etype.__name__,
            "evalue": message[:20_000],
            "traceback": lines,
        }
        _send(self.channel, _plain(frame))

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen behind the wall; figures are drawn inline."""


def _send(channel: Channel, frame: dict[str, Any]) -> None:
    try:
        channel.send(frame, {})
    except wire.CannotCross as error:
        note = f"[an output was left out: {error}]\n"
        channel.send({"op": "output", "kind": "stream", "name": "stderr", "text": note}, {})


def _plain(value: Any) -> Any:
    """Return JSON for a display's data: text as it is, bytes in base64, numbers that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return str(value)


def _no_input(prompt: object = "") -> str:
    raise EOFError(
        f"nobody is there to answer input({prompt!r}) while a notebook is graded; assign the value instead"
    )


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise CellTimeout
