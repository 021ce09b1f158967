"""One submission's session behind the wall: run cells there, call functions there, collect what they show.

The grader always asks and the other side answers; an answer out of turn ends the session. Whatever goes wrong
with a session (it dies, hangs, floods, fills memory) is a `SessionEnded` with a reason that a learner can read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from sparring_grader import seccomp, wall, wire
from sparring_grader.checks import CheckFailed, Observed
from sparring_grader.errors import WallError
from sparring_grader.outputs import Outputs
from sparring_grader.references import References
from sparring_grader.wall import ControlGroup, Limits
from sparring_grader.watch import Watch, out_of_memory
from sparring_grader.wire import Handle


class SessionEnded(Exception):
    """The session is over before its time; the message says why, to the learner.

    `partial` is what the cell that was running had shown until then.
    """

    partial: Outputs | None = None


class Session:
    """A kernel behind the wall. Use it as a context manager; it is gone, with all its children, afterwards."""

    def __init__(self, limits: Limits | None = None, *, unsandboxed: bool = False) -> None:
        self.limits = limits or Limits()
        self.unsandboxed = unsandboxed
        self.wall = "none" if unsandboxed else wall.find_bubblewrap()[1]
        self.ended: str | None = None
        self._killed: str | None = None
        self._shown = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Session:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, source: str) -> tuple[Outputs, bool]:
        """Run one cell; return what it showed and whether it raised or ran out of time.

        Raises:
            SessionEnded: the session can't go on; `partial` of the exception holds what was shown until then.
        """
        outputs = Outputs(self.limits.cell_output)
        allowed = self.limits.cell_seconds
        try:
            reply, _ = self._ask({"op": "run", "source": source}, {}, allowed, outputs)
        except SessionEnded as error:
            error.partial = outputs
            raise
        if reply["op"] == "timeout":
            outputs.error(
                "TimeLimit",
                f"this cell ran for {allowed:g} s, which is the limit; is there a loop that does not end?",
            )
            return outputs, True
        if reply["op"] != "ran":
            raise self._end("the notebook's process answered out of turn")
        return outputs, bool(reply.get("error"))

    def get(self, name: str) -> Any:
        """Return the value of a variable of the notebook; raises CheckFailed when it can't be had."""
        header = {"op": "get", "target": name}
        reply, tensors = self._ask(header, {}, self.limits.call_seconds, None)
        return self._result(name, reply, tensors, References())["value"]

    def call(
        self,
        target: str | Handle,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        *,
        method: str | None = None,
        observe: bool = False,
    ) -> Observed:
        """Call a learner's function across the wall with arguments that can cross.

        Raises:
            CheckFailed: it raised, ran out of time, or returned what can't cross.
            SessionEnded: the session can't go on.
        """
        references = References()
        encoder = wire.Encoder(references)
        header = {
            "op": "call",
            "target": encoder.value(target),
            "method": method,
            "args": encoder.value(list(args)),
            "kwargs": encoder.value(dict(kwargs)),
            "observe": observe,
        }
        reply, tensors = self._ask(header, encoder.tensors, self.limits.call_seconds, None, references)
        name = target if isinstance(target, str) else target.type
        parts = self._result(f"{name}.{method}" if method else name, reply, tensors, references)
        after = parts.get("args"), parts.get("kwargs")
        return Observed(
            parts.get("value"),
            tuple(after[0]) if isinstance(after[0], list) else (),
            after[1] if isinstance(after[1], dict) else {},
        )

    def _result(
        self, name: str, reply: dict[str, Any], tensors: dict[str, torch.Tensor], references: References
    ) -> dict[str, Any]:
        operation = reply["op"]
        if operation == "timeout":
            raise CheckFailed(
                f"{name} did not return within {self.limits.call_seconds:g} s. Is there a loop that does not end, or "
                "work that a vectorized operation could do?"
            )
        if operation == "raised":
            raise CheckFailed(_raised(name, reply))
        if operation == "cannot_cross":
            raise CheckFailed(f"What {name} returned can't be checked: {_text(reply.get('message'), 500)}.")
        if operation != "result":
            raise self._end("the notebook's process answered out of turn")
        try:
            return {
                key: wire.decode(reply[key], tensors, references)
                for key in ("value", "args", "kwargs")
                if key in reply
            }
        except wire.WireError as error:
            raise CheckFailed(f"What {name} returned can't be checked: {error}.") from None

    def _ask(
        self,
        header: dict[str, Any],
        tensors: dict[str, torch.Tensor],
        seconds: float,
        outputs: Outputs | None,
        references: References | None = None,
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Send a request and read until its reply, taking outputs and oracle calls on the way."""
        if self.ended is not None:
            raise SessionEnded(self.ended)
        seconds = min(seconds, max(1.0, self._deadline - time.monotonic()))
        self._until = time.monotonic() + seconds + self.limits.grace_seconds
        self._send({**header, "seconds": seconds}, tensors)
        while True:
            reply, received = self._receive()
            operation = reply["op"]
            if operation == "output":
                if outputs is not None:
                    outputs.add(reply)
            elif operation in ("oracle", "gradient"):
                if references is None:
                    raise self._end("the notebook's process asked the grader's model out of turn")
                self._send(*references.answer(reply, received))
            else:
                return reply, received

    def _send(self, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        frame = memoryview(wire.pack(header, tensors))
        while frame:
            self._wait()
            try:
                frame = frame[self._socket.send(frame) :]
            except TimeoutError:
                continue
            except OSError:
                raise self._end(self._why()) from None

    def _receive(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        try:
            return wire.read(self._exactly)
        except wire.WireError as error:
            raise self._end(f"the notebook's process broke the grader's protocol: {error}") from None

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait()
            try:
                part = self._socket.recv(min(count - len(parts), 1 << 20))
            except TimeoutError:
                continue
            except OSError:
                part = b""
            if not part:
                raise self._end(self._why())
            self._shown += len(part)
            parts += part
        if self._shown > self.limits.total_output + 4 * wire.MAX_PAYLOAD:
            raise self._end(
                f"the notebook sent more than {self.limits.total_output >> 20} MiB of output; print less"
            )
        return bytes(parts)

    def _wait(self) -> None:
        """Look at the clock; the socket's own short time-out brings every wait back here."""
        if self._killed is not None:
            raise self._end(self._killed)
        if time.monotonic() > self._until:
            raise self._end("a cell or function ran past its time and did not react to being interrupted")

    def _why(self) -> str:
        if self._killed is not None:
            return self._killed
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.limits.grace_seconds)
        if self._group.out_of_memory():
            return out_of_memory(self.limits)
        code = self._process.returncode
        how = "was closed" if code is None else f"ended with code {code}"
        if code is not None and (code < 0 or code > 128):
            number = -code if code < 0 else code - 128
            names = {item.value: item.name for item in signal.Signals}
            how = f"was ended by {names.get(number, f'signal {number}')}"
        return f"the notebook's process {how} while it ran; did a cell call exit, or crash Python?"

    def _end(self, reason: str) -> SessionEnded:
        self.ended = self.ended or reason
        self._kill()
        return SessionEnded(self.ended)

    def _kill(self) -> None:
        process = self._process
        if process.poll() is None:
            # The group of its own that the process leads; behind the wall all others die with the first one.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._stack.callback(ours.close)
        settings = {
            "threads": self.limits.threads,
            "memory": self.limits.memory,
            "processes": self.limits.processes,
            "confined": not self.unsandboxed,
        }
        inherited = [theirs.fileno()]
        arguments = [str(theirs.fileno()), json.dumps(settings)]
        folder: str | None = None
        environment: dict[str, str] | None = {}
        if self.unsandboxed:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sparring-open-"))
            line = [sys.executable, "-P", "-m", "sparring_grader.inside", *arguments]
            packages = os.pathsep.join(
                str(Path(wall._package(name)).parent) for name in ("sparring", "sparring_grader")
            )
            environment = {**wall.environment(self.limits, folder), "PYTHONPATH": packages}
        else:
            filter_fd = self._filter()
            if filter_fd is not None:
                inherited.append(filter_fd)
            line = wall.command(self.limits, arguments, filter_fd)
        self._group = ControlGroup(self.limits)
        self._stack.callback(self._group.close)
        if self._group.folders and not self.unsandboxed:
            line = ["/bin/sh", "-c", f"{self._group.enter()}exec {shlex.join(line)}"]
        errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        with theirs:
            self._process = subprocess.Popen(
                line, pass_fds=inherited, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env=environment, cwd=folder, start_new_session=True,
            )  # fmt: skip
        self._stack.callback(self._kill)
        self._socket.settimeout(0.25)
        self._deadline = time.monotonic() + self.limits.start_seconds + self.limits.total_seconds
        self._until = time.monotonic() + self.limits.start_seconds
        watch = Watch(self._process.pid, self.limits, bool(self._group.folders), self._stop)
        self._stack.callback(watch.stop)
        try:
            ready, _ = self._receive()
        except SessionEnded as error:
            errors.seek(0)
            said = errors.read(2000).decode("utf-8", "replace").strip()
            raise WallError(
                f"the kernel behind the wall did not start: {error}; it said: {said or 'nothing'}"
            ) from None
        if ready["op"] != "ready":
            raise WallError(f"the kernel behind the wall began with {ready['op']!r}")
        self._deadline = time.monotonic() + self.limits.total_seconds

    def _filter(self) -> int | None:
        """Return a file that holds the filter of system calls, open until the session is over."""
        program = seccomp.program()
        if program is None:
            return None
        file = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        file.write(program)
        file.seek(0)
        return file.fileno()

    def _stop(self, reason: str) -> None:
        """Called by the watch, in its own thread: say why, and end the processes."""
        self._killed = reason
        self._kill()


def _raised(name: str, reply: dict[str, Any]) -> str:
    kind, message = _text(reply.get("type"), 100), _text(reply.get("message"), 300)
    if kind == "NotImplementedError":
        return f"{name} still raises NotImplementedError: its solution is not written yet."
    if kind == "NameError" and message == f"name {name!r} is not defined":
        return f"There is no {name} in the notebook. Did its cell run without an error, and is the name spelled so?"
    where = _text(reply.get("where"), 200)
    return f"{name} raised {kind}: {message}" + (f" (at {where})" if where else "")


def _text(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else ""
    return text if len(text) <= limit else text[:limit] + " ..."
