"""One at a time, among threads and processes, by a lock file."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs, waiting for whoever holds it; the system frees it if we die.

    Where the file system knows no locks, the block runs without one. Raises OSError when the file cannot be made.
    """
    handle = _acquire(path)
    try:
        yield
    finally:
        if sys.platform != "win32":
            # Removed while it is still held: whoever waits on it finds that it is no longer at its path.
            path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _wait(handle)
            if _still_there(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _still_there(handle: int, path: Path) -> bool:
    """Say whether the locked file is the one at its path, not one that its last holder removed."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _wait(handle: int) -> None:
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
            except OSError as error:
                if error.errno not in (errno.EDEADLOCK, errno.EACCES):  # it gives up after ten seconds
                    raise
            else:
                return
else:
    import fcntl

    def _wait(handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
