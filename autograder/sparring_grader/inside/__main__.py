"""Serve one notebook to the grader: `python -m sparring_grader.inside FD`, FD being a connected socket."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from sparring_grader import wire
from sparring_grader.inside.channel import Channel
from sparring_grader.inside.objects import Objects, after
from sparring_grader.inside.shell import CellTimeout, Shell


class Server:
    """Answers the grader's requests one at a time: run a cell, call a function, read a variable."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.objects = Objects(channel)
        self.shell = Shell.instance()
        self.shell.attach(channel)

    def serve(self) -> None:
        """Answer until the grader hangs up."""
        while True:
            try:
                header, tensors = self.channel.receive()
            except EOFError:
                return
            seconds = float(header.get("seconds", 60.0))
            try:
                # The alarm repeats, because `except: pass` in a loop would swallow a single one.
                signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
                reply, sent = self.answer(header, tensors)
            except CellTimeout:
                reply, sent = {"op": "timeout"}, {}
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            self.channel.send(reply, sent)

    def answer(
        self, header: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Do what one request asks and return the reply."""
        operation = header["op"]
        if operation == "run":
            return {"op": "ran", "error": self.shell.run(header["source"])}, {}
        try:
            if operation == "get":
                value: Any = self._named(header["target"])
                return self._reply({"op": "result"}, {"value": value})
            return self._call(header, tensors)
        except CellTimeout:
            raise
        except wire.CannotCross as error:
            return {"op": "cannot_cross", "message": str(error)[:2000]}, {}
        except NameError as error:
            return self._raised(error)

    def _call(
        self, header: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        target = wire.decode(header["target"], tensors, self.objects)
        args = wire.decode(header["args"], tensors, self.objects)
        kwargs = wire.decode(header["kwargs"], tensors, self.objects)
        function = self._named(target) if isinstance(target, str) else target
        self.shell.quiet(True)
        try:
            if header.get("method"):
                function = getattr(function, header["method"])
            value = function(*args, **kwargs)
        except CellTimeout:
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a learner's function is an answer too
            return self._raised(error)
        finally:
            self.shell.quiet(False)
        parts = {"value": value}
        if header.get("observe"):
            parts["args"] = [after(item) for item in args]
            parts["kwargs"] = {key: after(item) for key, item in kwargs.items()}
        return self._reply({"op": "result"}, parts)

    def _reply(
        self, header: dict[str, Any], parts: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        encoder = wire.Encoder(self.objects)
        for key, part in parts.items():
            header[key] = encoder.value(part)
        return header, encoder.tensors

    def _named(self, name: str) -> Any:
        if name not in self.shell.user_ns:
            raise NameError(f"name {name!r} is not defined")
        return self.shell.user_ns[name]

    def _raised(self, error: BaseException) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        try:
            message = str(error)
        except Exception:  # noqa: BLE001 - a learner's exception may have a broken __str__
            message = "(its message can't be shown)"
        frames = traceback.extract_tb(error.__traceback__)
        # Frames of ours say nothing to a learner; theirs have a cell's name or a library's path.
        where = next(
            (f"line {f.lineno}: {f.line}" for f in reversed(frames) if "ipython-input" in f.filename), ""
        )
        return {
            "op": "raised",
            "type": type(error).__name__[:200],
            "message": message[:2000],
            "where": where[:500],
        }, {}


def limit(memory: int, processes: int) -> None:
    """Cap what this process and its children may use; the grader watches their sum from outside."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # torch reserves address space it never touches, so the cap counts from what is mapped now.
    resource.setrlimit(resource.RLIMIT_AS, (in_use + memory, in_use + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
    # Before Linux 5.14 this counts all processes of the user, outside the wall as well; the watch counts there.
    kernel = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if kernel >= (5, 14) and (hard == resource.RLIM_INFINITY or hard > processes):
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def main() -> None:
    """Set the limits, say that the kernel is ready, and serve."""
    settings = json.loads(sys.argv[2])
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    torch.set_num_threads(settings["threads"])
    server = Server(channel)
    if settings["confined"]:
        limit(settings["memory"], settings["processes"])
    sys.argv = ["notebook"]
    sys.path.insert(0, "")
    channel.send({"op": "ready"}, {})
    server.serve()


if __name__ == "__main__":
    main()
