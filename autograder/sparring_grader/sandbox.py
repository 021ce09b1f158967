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
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import torch

from sparring_grader import wall, wire
from sparring_grader.checks import CheckFailed, Observed
from sparring_grader.errors import WallError
from sparring_grader.outputs import Outputs
from sparring_grader.wall import ControlGroup, Limits
from sparring_grader.wire import Handle, Oracle


class SessionEnded(Exception):
    """The session is over before its time; the message says why, to the learner."""


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

    def run(self, source: str, *, seconds: float | None = None) -> tuple[Outputs, bool]:
        """Run one cell; return what it showed and whether it raised or ran out of time.

        Raises:
            SessionEnded: the session can't go on; `partial` of the exception holds what was shown until then.
        """
        outputs = Outputs(self.limits.cell_output)
        allowed = self.limits.cell_seconds if seconds is None else seconds
        try:
            reply, _ = self._ask({"op": "run", "source": source}, {}, allowed, outputs)
        except SessionEnded as error:
            error.partial = outputs  # type: ignore[attr-defined]
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
        return self._result(name, reply, tensors, Exchange(self))["value"]

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
        exchange = Exchange(self)
        encoder = wire.Encoder(exchange)
        header = {
            "op": "call",
            "target": encoder.value(target),
            "method": method,
            "args": encoder.value(list(args)),
            "kwargs": encoder.value(dict(kwargs)),
            "observe": observe,
        }
        reply, tensors = self._ask(header, encoder.tensors, self.limits.call_seconds, None, exchange)
        name = target if isinstance(target, str) else target.type
        parts = self._result(f"{name}.{method}" if method else name, reply, tensors, exchange)
        after = parts.get("args"), parts.get("kwargs")
        return Observed(
            parts.get("value"),
            tuple(after[0]) if isinstance(after[0], list) else (),
            after[1] if isinstance(after[1], dict) else {},
        )

    def _result(
        self, name: str, reply: dict[str, Any], tensors: dict[str, torch.Tensor], exchange: Exchange
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
                key: wire.decode(reply[key], tensors, exchange)
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
        exchange: Exchange | None = None,
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
                if exchange is None:
                    raise self._end("the notebook's process asked the grader's model out of turn")
                self._send(*exchange.answer(reply, received))
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
            raise self._end(f"the notebook sent more than {self.limits.total_output >> 20} MiB of output")
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
            return _memory(self.limits)
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
            line = wall.command(self.limits, arguments)
        self._group = ControlGroup(self.limits)
        self._stack.callback(self._group.close)
        if self._group.folders and not self.unsandboxed:
            line = ["/bin/sh", "-c", f"{self._group.enter()}exec {shlex.join(line)}"]
        errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        with theirs:
            self._process = subprocess.Popen(
                line, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env=environment, cwd=folder, start_new_session=True,
            )  # fmt: skip
        self._stack.callback(self._kill)
        self._socket.settimeout(0.25)
        self._deadline = time.monotonic() + self.limits.start_seconds + self.limits.total_seconds
        self._until = time.monotonic() + self.limits.start_seconds
        watch = _Watch(self._process.pid, self.limits, bool(self._group.folders), self._stop)
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

    def _stop(self, reason: str) -> None:
        """Called by the watch, in its own thread: say why, and end the processes."""
        self._killed = reason
        self._kill()


class Exchange:
    """The references of one call: white-box models and oracles that go in, handles that come back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._oracles: list[tuple[Oracle, list[Any]]] = []

    def refer(self, value: Any) -> dict[str, Any] | None:
        """Return the reference under which an argument crosses."""
        if isinstance(value, Handle):
            return {"$": "handle", "id": value.id}
        config = getattr(value, "config", None)
        if isinstance(value, torch.nn.Module) and isinstance(config, dict):
            training = {name: module.training for name, module in value.named_modules()}
            return {"$": "model", "config": config, "state": dict(value.state_dict()), "training": training}
        if isinstance(value, Oracle) or callable(value):
            oracle = value if isinstance(value, Oracle) else Oracle(value)
            self._oracles.append((oracle, []))
            number = len(self._oracles) - 1
            return {"$": "oracle", "id": number, "name": oracle.name, "gradient": oracle.gradient}
        return None

    def resolve(self, kind: str, fields: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
        """Only handles come back; they are numbers to us and mean something behind the wall alone."""
        number, name = fields.get("id"), fields.get("type")
        if kind != "handle" or not isinstance(number, int) or not isinstance(name, str):
            raise wire.WireError(f"a reference of kind {kind[:40]!r} is not allowed here")
        return Handle(number, name[:200])

    def answer(
        self, question: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Answer a call of an oracle, or of the gradient of an earlier answer."""
        try:
            number = question["oracle"]
            if not isinstance(number, int) or not 0 <= number < len(self._oracles):
                raise self._session._end("the notebook's process asked for a model that it was not given")
            oracle, answers = self._oracles[number]
            args = wire.decode(question["args"], tensors)
            kwargs = wire.decode(question["kwargs"], tensors)
            if question["op"] == "gradient":
                value: Any = _gradient(oracle, answers, *args)
                position = len(answers) - 1
            else:
                if len(answers) >= oracle.max_calls:
                    message = f"{oracle.name} may be called {oracle.max_calls} times, and it was"
                    return {"op": "spent", "message": message}, {}
                value, kept = _query(oracle, args, kwargs)
                answers.append(kept)
                position = len(answers) - 1
            encoder = wire.Encoder()
            return {"op": "answer", "value": encoder.value(value), "number": position}, encoder.tensors
        except (
            wire.WireError,
            wire.CannotCross,
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,
            IndexError,
        ) as error:
            return {"op": "refused", "message": f"{type(error).__name__}: {str(error)[:500]}"}, {}


def _query(oracle: Oracle, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    if not oracle.gradient:
        with torch.no_grad():
            return oracle.fn(*args, **kwargs), None
    leaf = args[0].detach().requires_grad_(True)
    with torch.enable_grad():
        value = oracle.fn(leaf, *args[1:], **kwargs)
    return value.detach(), (leaf, value)


def _gradient(oracle: Oracle, answers: list[Any], position: Any, upstream: Any) -> torch.Tensor:
    if not oracle.gradient:
        raise ValueError(f"{oracle.name} is a black box: it answers, and gives no gradient")
    leaf, value = answers[position]
    gradient: torch.Tensor = torch.autograd.grad(value, leaf, upstream.to(value.dtype), retain_graph=True)[0]
    return gradient


class _Watch:
    """Looks at a process tree a few times a second and ends it when it outgrows its limits.

    Where a control group counts the memory (`grouped`), only processes are looked at here.
    """

    def __init__(self, pid: int, limits: Limits, grouped: bool, stop: Callable[[str], None]) -> None:
        self._pid = pid
        self._grouped = grouped
        self._limits = limits
        self._end = stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sparring-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.2):
            try:
                tree = psutil.Process(self._pid).children(recursive=True)
                if len(tree) > self._limits.processes:
                    self._end(f"the notebook started more than {self._limits.processes} processes")
                    return
                if self._grouped:
                    continue
                memory = 0
                for process in tree:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        # What forked processes share counts once (PSS); asking for it is slow, so only then.
                        one = len(tree) <= 2
                        memory += process.memory_info().rss if one else process.memory_full_info().pss
            except psutil.NoSuchProcess:
                return
            if memory > self._limits.memory + wall.SLACK:
                self._end(_memory(self._limits))
                return


def _memory(limits: Limits) -> str:
    return f"the notebook used more than {limits.memory / (1 << 30):g} GiB of memory"


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
