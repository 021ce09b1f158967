"""Collecting submissions from the exchange, where learners can write, without following where they point.

`nbgrader collect` runs as the instructor and copies what a link points to: a link to `submitted/ALICE/...` would
hand in Alice's work, one to `lessons/` the hidden checks. A course's nbgrader_config.py names `Collect` in its place.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from typing import Any

from nbgrader.exchange.default import ExchangeCollect
from nbgrader.utils import ignore_patterns


class Collect(ExchangeCollect):  # type: ignore[misc]
    """nbgrader's collector, but it takes regular files and folders only: no links, FIFOs or devices."""

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy one submission's folder; what is neither a file nor a folder is left out, and logged."""
        if Path(src).is_symlink():
            self.log.warning("%s is a link, not a folder that was handed in; nothing of it is taken", src)
            Path(dest).mkdir(parents=True)
            return
        limits = ignore_patterns(
            exclude=self.coursedir.ignore,
            include=self.coursedir.include,
            max_file_size=self.coursedir.max_file_size,
            log=self.log,
        )

        def left_out(folder: str, names: list[str]) -> set[str]:
            odd = {name for name in names if not _plain(Path(folder, name))}
            for name in sorted(odd):
                self.log.warning("%s is no regular file; it is not taken", Path(folder, name))
            return odd | set(limits(folder, [name for name in names if name not in odd]))

        # symlinks=True: should a link appear after it was looked at, it is copied as a link, which grading refuses.
        shutil.copytree(src, dest, symlinks=True, ignore=left_out)


def _plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
