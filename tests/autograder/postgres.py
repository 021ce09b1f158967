"""A PostgreSQL server of a test's own, in a temporary directory, on a socket of its own and no network port."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def binaries() -> Path:
    """The folder of initdb and pg_ctl; skips the test where there is none."""
    found = [Path(place).parent for place in [shutil.which("initdb")] if place]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL's initdb is not installed (Debian: apt-get install postgresql)")
    return found[-1]


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server in `folder` and give its address as the tail of a URL: /DATABASE?host=FOLDER."""
    tools = binaries()
    user: dict[str, int] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("tests run as root, and there is no user postgres to run PostgreSQL as")
        user = {"user": owner.pw_uid, "group": owner.pw_gid}
        os.chown(folder, owner.pw_uid, owner.pw_gid)

    def run(*words: str) -> None:
        result = subprocess.run(
            [tools / words[0], *words[1:]], cwd=folder, capture_output=True, text=True, timeout=120, **user
        )
        assert result.returncode == 0, f"{words[0]}: {result.stdout}{result.stderr}"

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", "teacher", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        run("createdb", "-h", str(folder), "-U", "teacher", "gradebook")
        yield f"/gradebook?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
