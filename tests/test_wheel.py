"""What a wheel carries: the two packages with their data, and nothing that gives answers away."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "sparring": ROOT / "shared_lib" / "sparring",
    "sparring_grader": ROOT / "autograder" / "sparring_grader",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of the working tree, built offline."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("sparring-*.whl")
    return zipfile.ZipFile(path)


def in_git(folder: Path) -> set[str]:
    """Return the files that git tracks or would track under a folder, relative to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.split("\0") if name and (folder / name).is_file()}


def digest(raw: bytes) -> str:
    """Return the hash by which a file is known again under any name."""
    return hashlib.sha256(raw).hexdigest()


def test_the_wheel_holds_every_file_of_both_packages_and_no_other(wheel: zipfile.ZipFile) -> None:
    """Code, data, templates and type markers come along, exactly as they stand in git."""
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {f"{package}/{name}" for package, folder in PACKAGES.items() for name in in_git(folder)}
    assert held == expected


def test_the_wheel_holds_data_templates_license_and_notice(wheel: zipfile.ZipFile) -> None:
    """The kinds of file that a packaging slip loses first are there, and their attribution with them."""
    names = wheel.namelist()
    assert {"sparring/py.typed", "sparring_grader/py.typed"} <= set(names)
    assert [name for name in names if name.startswith("sparring/data/") and not name.endswith(".py")]
    assert [name for name in names if name.startswith("sparring_grader/") and name.endswith((".j2", ".html"))]
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if name.endswith("licenses/NOTICE")]


def test_the_wheel_holds_no_solution_no_hidden_check_and_no_test(wheel: zipfile.ZipFile) -> None:
    """Neither by place nor, under another name, by content."""
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    secret = {
        digest((ROOT / folder / name).read_bytes()): name
        for folder in ("solutions", "tests")
        if (ROOT / folder).is_dir()
        for name in in_git(ROOT / folder)
        if (ROOT / folder / name).stat().st_size
    }
    assert secret
    leaked = [name for name in wheel.namelist() if digest(wheel.read(name)) in secret]
    assert not leaked
