"""A pool of worker processes in which one task that takes its worker down takes no other task with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_STOP_SECONDS = 10.0


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results(
    work: Callable[[T], R], tasks: Sequence[T], workers: int
) -> Generator[tuple[T, R | Exception], None, None]:
    """Yield each task with what `work` made of it, or with the exception it raised, as they are done.

    No more tasks than `workers` are under way at a time. When a worker dies, the tasks that were under way run
    once more, each alone: whoever brings its worker down again gets a BrokenProcessPool, the others their results.
    Closing the iterator ends the workers.
    """
    waiting, suspects = deque(tasks), deque[T]()
    while waiting or suspects:
        alone = bool(suspects)
        queue = suspects if alone else waiting
        before = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1 if alone else workers, context, initializer=_begin)
        try:
            yield from _drain(pool, work, queue, suspects, 1 if alone else workers, alone)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(set(multiprocessing.active_children()) - before)
            raise
        pool.shutdown()


def _drain(
    pool: ProcessPoolExecutor,
    work: Callable[[T], R],
    queue: deque[T],
    suspects: deque[T],
    workers: int,
    alone: bool,
) -> Iterator[tuple[T, R | Exception]]:
    """Yield the results of the queue's tasks, until it is empty or the pool is broken."""
    running: dict[Future[R], T] = {}
    broken = False
    while running or (queue and not broken):
        while queue and len(running) < workers and not broken:
            try:
                running[pool.submit(_guarded, work, queue[0])] = queue[0]
            except BrokenProcessPool:
                broken = True
            else:
                queue.popleft()
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            task = running.pop(future)
            error = future.exception()
            if error is None:
                yield task, future.result()
            elif isinstance(error, BrokenProcessPool) and not alone:
                broken = True
                suspects.append(task)
            elif isinstance(error, Exception):
                broken = broken or isinstance(error, BrokenProcessPool)
                yield task, error
            else:
                raise error


def _begin() -> None:
    """Prepare a worker: one thread each, stopped by the coordinator alone, and never outliving it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Leaving by an exception closes what the task has open: above all, the kernel that it is talking to.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _guarded(work: Callable[[T], R], task: T) -> R:
    try:
        return work(task)
    except SystemExit:
        # The pool would hand this to the coordinator as a result, and the worker would wait for another task.
        os._exit(143)


def _end(processes: set[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_STOP_SECONDS)
        if process.is_alive():
            process.kill()
