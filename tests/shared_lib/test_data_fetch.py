"""Downloads, against a real HTTP server on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mirror import Mirror

from sparring.data.catalog import Archive
from sparring.data.fetch import fetch, wrong_checksum
from sparring.data.lock import only_one
from sparring.data.progress import plain_bar, progress_bar
from sparring.errors import DataError

BODY = bytes(range(256)) * 800  # 204,800 bytes: more than one read, less than a blink


@contextlib.contextmanager
def silent(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that shows nothing."""
    yield lambda done: None


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def archive(*urls: str, body: bytes = BODY, **changes: object) -> Archive:
    """An archive that was published as `body`."""
    known = {
        "name": "toy.gz",
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "md5": hashlib.md5(body).hexdigest(),
        "urls": urls,
        "contents": (),
    }
    return Archive(**{**known, **changes})  # type: ignore[arg-type]


def get(wanted: Archive, folder: Path) -> Path:
    return fetch(wanted, folder, show=silent, timeout=5)


def test_what_was_published_arrives_and_nothing_else_stays(tmp_path: Path) -> None:
    """Bytes equal, the part file gone, one request, and no second one when it is there already."""
    with Mirror({"toy.gz": BODY}) as mirror:
        wanted = archive(mirror.url("toy.gz"))
        path = get(wanted, tmp_path / "new" / "folder")
        assert path.read_bytes() == BODY
        assert [entry.name for entry in path.parent.iterdir()] == ["toy.gz"]
        assert get(wanted, path.parent) == path
        assert mirror.asked == [("/toy.gz", None)]


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """After a cut the same call asks for the rest only, and the whole is right."""
    with Mirror({"toy.gz": BODY}, cut_after=100_000, cuts=1) as mirror:
        path = get(archive(mirror.url("toy.gz")), tmp_path)
        assert path.read_bytes() == BODY
        assert mirror.asked == [("/toy.gz", None), ("/toy.gz", "bytes=100000-")]
        assert mirror.sent == len(BODY)


def test_a_later_call_goes_on_where_an_earlier_one_was_cut(tmp_path: Path) -> None:
    """A call that fails leaves its bytes; the next one fetches the rest and no byte twice."""
    with Mirror({"toy.gz": BODY}, cut_after=30_000) as mirror:
        wanted = archive(mirror.url("toy.gz"))
        with pytest.raises(DataError, match="cut"):
            get(wanted, tmp_path)
        kept = (tmp_path / "toy.gz.part").read_bytes()
        assert kept == BODY[:90_000]
        assert not (tmp_path / "toy.gz").exists()
        mirror.cut_after = None
        assert get(wanted, tmp_path).read_bytes() == BODY
        assert mirror.sent == len(BODY)


def test_another_mirror_goes_on_where_the_first_was_cut(tmp_path: Path) -> None:
    """The second mirror is asked only for what the first did not deliver."""
    with Mirror({"toy.gz": BODY}, cut_after=40_000) as weak, Mirror({"toy.gz": BODY}) as strong:
        path = get(archive(weak.url("toy.gz"), strong.url("toy.gz")), tmp_path)
        assert path.read_bytes() == BODY
        assert strong.asked == [("/toy.gz", "bytes=120000-")]


def test_a_mirror_without_ranges_starts_again(tmp_path: Path) -> None:
    """A full answer to a Range request replaces the partial bytes instead of following them."""
    with Mirror({"toy.gz": BODY}, ranges=False, cut_after=100_000, cuts=1) as mirror:
        assert get(archive(mirror.url("toy.gz")), tmp_path).read_bytes() == BODY


def test_a_corrupted_file_is_refused_and_the_next_mirror_asked(tmp_path: Path) -> None:
    """One flipped bit is found, and the honest mirror's bytes are the ones that count."""
    bad = bytes([BODY[0] ^ 1]) + BODY[1:]
    with Mirror({"toy.gz": bad}) as liar, Mirror({"toy.gz": BODY}) as honest:
        assert get(archive(liar.url("toy.gz"), honest.url("toy.gz")), tmp_path).read_bytes() == BODY
        assert len(liar.asked) == 1


@pytest.mark.parametrize(("field", "kind"), [("sha256", "SHA-256"), ("md5", "MD5")])
def test_a_wrong_checksum_is_named_and_leaves_the_old_file_whole(
    tmp_path: Path, field: str, kind: str
) -> None:
    """The message gives both values; what lay there before is untouched, and no partial file stays."""
    (tmp_path / "toy.gz").write_bytes(b"old")
    with Mirror({"toy.gz": BODY}) as mirror:
        wanted = archive(mirror.url("toy.gz"), **{field: "0" * 64})
        got = getattr(archive(), field)
        with pytest.raises(DataError, match=f"{kind} is {got}, published is 0000") as caught:
            get(wanted, tmp_path)
    assert mirror.url("toy.gz") in str(caught.value)
    assert (tmp_path / "toy.gz").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy.gz"]


def test_a_damaged_file_is_replaced_by_a_good_one(tmp_path: Path) -> None:
    """A file of the right name with wrong bytes does not count as fetched."""
    (tmp_path / "toy.gz").write_bytes(BODY[:-1])
    with Mirror({"toy.gz": BODY}) as mirror:
        assert get(archive(mirror.url("toy.gz")), tmp_path).read_bytes() == BODY


def test_rotten_partial_bytes_get_a_fresh_start(tmp_path: Path) -> None:
    """When the bytes of an earlier call are what is wrong, the same mirror is asked for all of it."""
    (tmp_path / "toy.gz.part").write_bytes(b"x" * 1000)
    with Mirror({"toy.gz": BODY}) as mirror:
        assert get(archive(mirror.url("toy.gz")), tmp_path).read_bytes() == BODY
        assert mirror.asked == [("/toy.gz", "bytes=1000-"), ("/toy.gz", None)]


@pytest.mark.parametrize("extra", [0, 500])
def test_a_partial_file_that_is_already_too_long_is_started_afresh(tmp_path: Path, extra: int) -> None:
    """Wrong bytes of the full length or more are not asked to be continued."""
    (tmp_path / "toy.gz.part").write_bytes(b"x" * (len(BODY) + extra))
    with Mirror({"toy.gz": BODY}) as mirror:
        assert get(archive(mirror.url("toy.gz")), tmp_path).read_bytes() == BODY
        assert mirror.asked == [("/toy.gz", None)]


def test_a_complete_partial_file_needs_no_network(tmp_path: Path) -> None:
    """A process that was stopped between the last byte and the renaming lost nothing."""
    (tmp_path / "toy.gz.part").write_bytes(BODY)
    with Mirror() as mirror:
        assert get(archive(mirror.url("toy.gz")), tmp_path).read_bytes() == BODY
        assert mirror.asked == []


def test_a_missing_file_and_a_dead_mirror_are_both_named(tmp_path: Path) -> None:
    """The error lists every address with its own reason, and nothing is left behind."""
    with Mirror() as dead:
        gone = dead.url("toy.gz")
    with Mirror() as empty, pytest.raises(DataError) as caught:
        get(archive(empty.url("toy.gz"), gone), tmp_path)
    message = str(caught.value)
    assert f"{empty.url('toy.gz')}: HTTP 404 Not Found" in message
    assert f"{gone}: " in message
    assert "refused" in message
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_that_never_stops_is_cut_off_at_the_published_size(tmp_path: Path) -> None:
    """A flood costs no more disk than the file that was asked for."""
    flood = b"x" * len(BODY)
    with (
        Mirror({"toy.gz": flood}, endless=True) as mirror,
        pytest.raises(DataError, match="not what was published"),
    ):
        get(archive(mirror.url("toy.gz")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_four_at_once_end_with_one_good_file(tmp_path: Path) -> None:
    """Several notebooks that fetch the same file at the same time wait for one another, and ask for it once."""
    with Mirror({"toy.gz": BODY * 20}) as mirror:
        wanted = archive(mirror.url("toy.gz"), body=BODY * 20)
        ends: list[object] = []

        def run() -> None:
            try:
                ends.append(get(wanted, tmp_path))
            except DataError as error:
                ends.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ends == [tmp_path / "toy.gz"] * 4
    assert len(mirror.asked) == 1
    assert wrong_checksum(tmp_path / "toy.gz", wanted) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy.gz"]


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Six threads, forty turns each, never two inside; the lock file is gone at the end."""
    inside, most, turns = 0, 0, 0

    def take_turns() -> None:
        nonlocal inside, most, turns
        for _ in range(40):
            with only_one(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)  # long enough for another thread to walk in, if it could
                turns += 1
                inside -= 1

    threads = [threading.Thread(target=take_turns) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns, inside) == (1, 240, 0)
    if sys.platform != "win32":
        assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_data_fetch import archive, get
from sparring.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    get(archive(sys.argv[1]), Path(sys.argv[2]))
except DataError as error:
    print(error)
else:
    sys.exit("a file larger than the limit was written")
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX does")
def test_no_room_on_the_disk_is_named_and_leaves_the_old_file_whole(tmp_path: Path) -> None:
    """A write that the system refuses half-way names the folder and the remedy, and can be continued."""
    (tmp_path / "toy.gz").write_bytes(b"old")
    with Mirror({"toy.gz": BODY}) as mirror:
        command = [
            sys.executable,
            "-c",
            FULL_DISK,
            mirror.url("toy.gz"),
            str(tmp_path),
            str(Path(__file__).parent),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert f"toy.gz (204,800 bytes) cannot be written into {tmp_path}: File too large" in run.stdout
        assert "SPARRING_CACHE" in run.stdout
        assert (tmp_path / "toy.gz").read_bytes() == b"old"
        assert get(archive(mirror.url("toy.gz")), tmp_path).read_bytes() == BODY


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder is needed is the user's to mend, so the message says where."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be written into .*file.*SPARRING_CACHE"):
        get(archive("http://127.0.0.1:9/toy.gz"), tmp_path / "file" / "cache")


def test_the_bar_is_told_every_byte_and_opened_once(tmp_path: Path) -> None:
    """Progress rises to the size; over a cut it goes on rather than starting again."""
    opened, told = [], []

    @contextlib.contextmanager
    def bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
        opened.append((name, total))
        yield told.append

    with Mirror({"toy.gz": BODY}, cut_after=100_000, cuts=1) as mirror:
        fetch(archive(mirror.url("toy.gz")), tmp_path, show=bar, timeout=5)
    assert opened == [("toy.gz", len(BODY))]
    assert told == sorted(told)
    assert told[-1] == len(BODY)


def test_without_a_network_no_bar_is_drawn(tmp_path: Path) -> None:
    """A bar at zero above an error would only be in its way."""
    opened = []

    @contextlib.contextmanager
    def bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
        opened.append(name)
        yield lambda done: None

    with Mirror() as mirror, pytest.raises(DataError):
        fetch(archive(mirror.url("toy.gz")), tmp_path, show=bar, timeout=5)
    assert opened == []


def test_the_installed_bar_counts_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """tqdm, where it is installed, ends at the whole size."""
    pytest.importorskip("tqdm")
    with progress_bar("toy.gz", 2000) as show:
        show(500)
        show(2000)
    assert "toy.gz: 100%" in capsys.readouterr().err


def test_the_plain_bar_draws_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log file gets no carriage returns; a terminal gets the percentage, and a new line at the end."""
    with plain_bar("toy.gz", 2000) as show:
        show(1000)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with plain_bar("toy.gz", 2000) as show:
        show(1000)
        show(1001)
    drawn = capsys.readouterr().err
    assert drawn.count("\r") == 1
    assert " 50% of" in drawn
    assert drawn.endswith("\n")
