"""Writing files so that whatever happens, either the old file is there whole or the new one is."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from sparring_grader.errors import GraderError


def write(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file beside `path`, bring it to the disk, then rename it into place.

    Raises:
        GraderError: it can't be written, for want of room or of permission; what was at `path` is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    beside: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(mode)
        Path(beside).replace(path)
    except OSError as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                Path(beside).unlink()
        reason = error.strerror or str(error)
        raise GraderError(
            f"can't write {path} ({len(data):,} bytes): {reason}; make room or check permissions, then run "
            "this again. What was there before is untouched."
        ) from error
