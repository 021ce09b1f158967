"""A filter of system calls for what runs behind the wall: what no notebook needs, the kernel refuses.

Namespaces hide the host; this narrows what is left to attack. Refused are the calls that reach around namespaces
(kernel keyrings belong to the user, vsock sockets to the machine), that have a history of holes (io_uring, bpf,
userfaultfd), or that look into other processes. Everything else is allowed: a refused call fails with EPERM, as
it would for lack of permission, so that libraries take their ordinary way around it.

The program is classic BPF, assembled here: one table of numbers for each machine, from the kernel's headers.
"""

from __future__ import annotations

import errno
import platform
import struct

# The call's name, and its number on x86_64 and on aarch64.
REFUSED: dict[str, tuple[int, int]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
CLONE, CLONE3, SOCKET, IOCTL = (56, 220), (435, 435), (41, 198), (16, 29)
NEW_NAMESPACES = 0x7E020000
FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink: each empty, or a namespace's own
TIOCSTI = 0x5412
X32 = 0x40000000

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str | None = None) -> bytes | None:
    """Return the filter as bytes for `bwrap --seccomp`, None for a machine that has no table here."""
    known = ARCHITECTURES.get(machine or platform.machine())
    if known is None:
        return None
    column, architecture = known
    refuse = _step(_RETURN, ERRNO | errno.EPERM)
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, KILL),
        _step(_LOAD, _NUMBER),
        # x86_64 has a second set of numbers for the same calls.
        _step(_AT_LEAST, X32, 0, 1),
        refuse,
    ]
    for numbers in REFUSED.values():
        code += [_step(_EQUAL, numbers[column], 0, 1), refuse]
    # glibc and Python fall back to clone, whose flags can be looked at, when clone3 is not there.
    code += [_step(_EQUAL, CLONE3[column], 0, 1), _step(_RETURN, ERRNO | errno.ENOSYS)]
    code += _with_argument(CLONE[column], _FIRST, [_step(_ANY_BIT, NEW_NAMESPACES, 0, 1), refuse])
    families = [_step(_EQUAL, family, len(FAMILIES) - place, 0) for place, family in enumerate(FAMILIES)]
    code += _with_argument(SOCKET[column], _FIRST, [*families, _step(_RETURN, ERRNO | errno.EAFNOSUPPORT)])
    code += _with_argument(IOCTL[column], _SECOND, [_step(_EQUAL, TIOCSTI, 0, 1), refuse])
    code.append(_step(_RETURN, ALLOW))
    return b"".join(code)


def _with_argument(number: int, offset: int, steps: list[bytes]) -> list[bytes]:
    """Return steps that look at one argument of one call, and leave the call's number loaded for what follows."""
    inner = [_step(_LOAD, offset), *steps, _step(_LOAD, _NUMBER)]
    return [_step(_EQUAL, number, 0, len(inner)), *inner]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
