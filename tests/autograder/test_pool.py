"""The pool: one task's end is not another's, whatever ends it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import pytest

from sparring_grader import pool


def work(task):
    """What workers do here: die, raise, hang, or answer; a path says that they began."""
    what, began = task
    if began:
        Path(began).write_text(str(os.getpid()))
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise OSError(13, "Permission denied")
    if what == "hang":
        try:
            time.sleep(600)
        finally:
            Path(began).write_text("cleaned up")
    return what * 2


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_worker_that_dies_costs_its_own_task_only():
    """Whoever was under way with it is done again, each task has exactly one outcome."""
    tasks = [(name, None) for name in ("a", "die", "b", "raise", "c", "d")]
    outcomes = {task[0]: outcome for task, outcome in pool.results(work, tasks, 2)}
    assert {name: outcome for name, outcome in outcomes.items() if name in "abcd"} == {
        "a": "aa", "b": "bb", "c": "cc", "d": "dd",
    }  # fmt: skip
    assert isinstance(outcomes["die"], BrokenProcessPool)
    assert isinstance(outcomes["raise"], PermissionError)
    assert len(outcomes) == len(tasks)


def test_no_tasks_need_no_workers():
    assert list(pool.results(work, [], 4)) == []
    assert multiprocessing.active_children() == []


def test_stopping_ends_the_workers_and_lets_them_clean_up(tmp_path):
    """Closing the iterator, which Ctrl-C does, leaves no process behind; a task's `finally` has run."""
    began = tmp_path / "began"
    with closing(pool.results(work, [("a", None), ("hang", str(began))], 2)) as outcomes:
        assert next(outcomes) == (("a", None), "aa")
        until(began.exists)
    assert began.read_text() == "cleaned up"
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_do_not_outlive_a_coordinator_that_is_killed(tmp_path):
    """kill -9 gives the coordinator no chance to end them; they leave by themselves."""
    began = tmp_path / "began"
    script = tmp_path / "coordinator.py"
    script.write_text(
        "import sys\nfrom sparring_grader import pool\nfrom test_pool import work\n"
        f"if __name__ == '__main__':\n    list(pool.results(work, [('hang', {str(began)!r})], 1))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, script], env=environment)
    try:
        until(lambda: began.exists() and began.read_text())
        worker = int(began.read_text())
    finally:
        process.kill()
        process.wait()
    until(lambda: not alive(worker), 20)
