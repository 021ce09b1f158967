"""A watch over a process tree, for the limits that no rlimit holds: their sum."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import psutil

from sparring_grader import wall
from sparring_grader.wall import Limits


class Watch:
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
                self._end(out_of_memory(self._limits))
                return


def out_of_memory(limits: Limits) -> str:
    """Return what a learner is told whose notebook used too much memory."""
    return f"the notebook used more than {limits.memory / (1 << 30):g} GiB of memory"
