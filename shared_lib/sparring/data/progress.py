"""A progress bar for downloads: tqdm's if it is installed, else a line on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

WIDTH = 30


@contextlib.contextmanager
def progress_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much of `name` is there; give a function that takes the bytes so far, of `total`."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        with plain_bar(name, total) as show:
            yield show
        return
    with tqdm(total=total, desc=name, unit="B", unit_scale=True) as bar:

        def show(done: int) -> None:
            bar.update(done - bar.n)

        yield show


@contextlib.contextmanager
def plain_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draw the bar as one line on standard error, redrawn at each percent; draw nothing if that is no terminal."""
    shown = -1

    def show(done: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent != shown and sys.stderr.isatty():
            shown = percent
            bar = "#" * (WIDTH * percent // 100)
            sys.stderr.write(f"\r{name} [{bar:<{WIDTH}}] {percent:3d}% of {total / 1e6:.1f} MB")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown >= 0:
            sys.stderr.write("\n")
