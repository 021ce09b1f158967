"""Download a published archive: resumable, checked before it takes its name, from the first mirror that delivers."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from sparring.data.catalog import Archive
from sparring.data.lock import only_one
from sparring.data.progress import progress_bar
from sparring.errors import DataError

CHUNK = 1 << 16
TRIES = 3

Show = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]


class _MirrorError(Exception):
    """A mirror did not deliver; the next one may."""


def fetch(archive: Archive, folder: Path, *, show: Show = progress_bar, timeout: float = 30.0) -> Path:
    """Download an archive into `folder` and return its path there.

    A file of that name with the published checksum is left alone. What arrives is written beside it, as
    NAME.part; only when size, SHA-256 and MD5 are right does it take the name, in one step, so a file that was
    there stays whole until then. A download that was cut goes on where it stopped, on any mirror and in any later
    call. A mirror is asked up to three times as long as each time brings more bytes. No more than the published
    size is ever written. Two calls for the same file, in whatever processes, wait for one another.

    `show(name, total)` is a context manager that gives a function to be called with the bytes there are so far;
    `timeout` is in seconds, for each wait on the network. Raises DataError when no mirror delivers the right
    bytes, or when the folder cannot be written.
    """
    goal = folder / archive.name
    part = goal.with_name(goal.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reasons = []
        with contextlib.ExitStack() as bar, only_one(goal.with_name(goal.name + ".lock")):
            if goal.is_file() and wrong_checksum(goal, archive) is None:
                return goal
            shown: list[Callable[[int], None]] = []

            def progress(done: int) -> None:
                # No bar before the first byte: without a network there is nothing to show but the error.
                if not shown:
                    shown.append(bar.enter_context(show(archive.name, archive.size)))
                shown[0](done)

            for url in archive.urls:
                try:
                    _deliver(archive, url, part, progress, timeout)
                except _MirrorError as error:
                    reasons.append(f"{url}: {error}")
                    continue
                part.replace(goal)
                return goal
    except OSError as error:
        raise DataError(
            f"{archive.name} ({archive.size:,} bytes) cannot be written into {folder}: {error.strerror or error} "
            f"({_free(folder)}); make room there, or name another folder in SPARRING_CACHE"
        ) from error
    raise DataError("; ".join(reasons) or f"no mirror of {archive.name} is known")


def wrong_checksum(path: Path, archive: Archive) -> str | None:
    """Return None if a file has an archive's published SHA-256 and MD5, else words that say which it has not."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
    for kind, got, published in (
        ("SHA-256", sha256.hexdigest(), archive.sha256),
        ("MD5", md5.hexdigest(), archive.md5),
    ):
        if got != published:
            return f"{kind} is {got}, published is {published}"
    return None


def _deliver(archive: Archive, url: str, part: Path, progress: Callable[[int], None], timeout: float) -> None:
    """Complete `part` from one mirror and check it; raise _MirrorError if that cannot be done."""
    resumed = part.is_file()
    for _ in range(TRIES):
        before = part.stat().st_size if part.is_file() else 0
        if before < archive.size:
            trouble = _append(archive, url, part, progress, timeout)
            after = part.stat().st_size if part.is_file() else 0
            if after < archive.size:
                if after <= before:
                    raise _MirrorError(trouble or f"it ended at {after:,} of {archive.size:,} bytes")
                continue
        wrong = wrong_checksum(part, archive)
        if wrong is None:
            return
        part.unlink()
        if not resumed:
            raise _MirrorError(f"what it sent is not what was published: {wrong}")
        # The bytes of an earlier call may be what is wrong: this mirror deserves a fresh start.
        resumed = False
    raise _MirrorError(f"the connection was cut {TRIES} times")


def _append(
    archive: Archive, url: str, part: Path, progress: Callable[[int], None], timeout: float
) -> str | None:
    """Ask a mirror for what is missing of `part` and write it; return what stopped it early, if something did."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "sparring", "Accept-Encoding": "identity"})  # noqa: S310 - the catalog's own addresses
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0  # a mirror that does not resume sends all of it
        elif not re.match(rf"bytes {start}-", response.headers.get("Content-Range", "")):
            return f"asked for bytes {start}-, it sent {response.headers.get('Content-Range')!r}"
        with part.open("ab" if start else "wb") as file:
            done = start
            while done < archive.size:
                try:
                    chunk = response.read(min(CHUNK, archive.size - done))
                except (OSError, http.client.HTTPException) as error:
                    return str(error) or type(error).__name__
                if not chunk:
                    return f"the connection was cut at {done:,} of {archive.size:,} bytes"
                file.write(chunk)
                done += len(chunk)
                progress(done)
            file.flush()
            os.fsync(file.fileno())
    return None


def _free(folder: Path) -> str:
    """Return in words how much room is left where `folder` is or would be."""
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    if existing is None:
        return "it does not exist"
    return f"{shutil.disk_usage(existing).free / 1e6:,.0f} MB are free"
