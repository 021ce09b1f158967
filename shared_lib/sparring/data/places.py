"""Where data may lie: a named folder, the system's, the cache; and how a file there is read and checked."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from sparring.data.catalog import Archive, Content, FullSet
from sparring.errors import DataError


def cache_folder() -> Path:
    """Return where downloads are kept: SPARRING_CACHE, else `sparring` in the platform's cache folder."""
    chosen = os.environ.get("SPARRING_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "sparring"


def inside(folder: Path, full: FullSet) -> Iterator[Path]:
    """Yield the folders in which a set may lie when `folder` is named: by its name first, else directly."""
    yield from (folder / name for name in full.folders if (folder / name).is_dir())
    yield folder


def spellings(name: str) -> tuple[str, ...]:
    """Return a content's name and, for an idx file, the spelling with a dot that some unpackers give it."""
    dotted = name.replace("-idx", ".idx")
    return (name,) if dotted == name else (name, dotted)


def read_archive(archive: Archive, folder: Path) -> dict[str, bytes] | None:
    """Return an archive's contents by name from `folder`, unpacked or packed; None when they are not there.

    Nothing is unpacked onto the disk. Whatever its packing, each content must have its known size and SHA-256;
    raises DataError when one has not, or cannot be read.
    """
    plain = {content.name: _first(folder, spellings(content.name)) for content in archive.contents}
    if all(plain.values()):
        return {
            content.name: _checked(_plain(path, content), content, path)
            for content in archive.contents
            if (path := plain[content.name]) is not None
        }
    path = _first(folder, (archive.name, *(f"{name}.gz" for name in spellings(archive.contents[0].name))))
    if path is None:
        return None
    try:
        if archive.name.endswith(".tar.gz"):
            return _tar(path, archive)
        (content,) = archive.contents
        with gzip.open(path) as file:
            return {content.name: _checked(file.read(content.size + 1), content, path)}
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); it is damaged") from error


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _plain(path: Path, content: Content) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(content.size + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _tar(path: Path, archive: Archive) -> dict[str, bytes]:
    wanted = {content.name: content for content in archive.contents}
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            content = wanted.get(member.name.rpartition("/")[2])
            if content is None or not member.isfile() or content.name in found:
                continue
            stream = tar.extractfile(member)
            if stream is not None:
                found[content.name] = _checked(stream.read(content.size + 1), content, path)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{path} holds no {', '.join(missing)}; it is damaged, or another set's")
    return found


def _checked(raw: bytes, content: Content, path: Path) -> bytes:
    """Return `raw` if it is the content that was published, else raise DataError."""
    # At most one byte beyond the known size was read, so a file that unpacks to gigabytes costs nothing.
    if len(raw) != content.size:
        size = f"more than {content.size:,}" if len(raw) > content.size else f"{len(raw):,}"
        raise DataError(
            f"{path}: {content.name} has {size} bytes instead of {content.size:,}; it is damaged, or another set's"
        )
    got = hashlib.sha256(raw).hexdigest()
    if got != content.sha256:
        raise DataError(
            f"{path}: {content.name} has SHA-256 {got}, the published one has {content.sha256}; "
            "it is damaged, or another set's"
        )
    return raw
