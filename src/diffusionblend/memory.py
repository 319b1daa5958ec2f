"""How much memory there is, as far as the system reports it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

KIB = 1024
CGROUP = Path("/sys/fs/cgroup")


def available_memory_bytes() -> int | None:
    """Memory that the system could give this process now; None where it is unknown.

    The least of what the machine has, what its container may take, and what `ulimit -v` leaves.
    """
    found = [_of_machine(), _of_container(), _of_limit()]
    known = [n_bytes for n_bytes in found if n_bytes is not None]
    return max(0, min(known)) if known else None


def total_memory_bytes() -> int | None:
    """All memory that this process can ever have, whatever of it is taken; None where unknown.

    The least of what the machine has, what its container may take, and what `ulimit -v` allows.
    """
    found = [_limit_of_container(), _address_limit()]
    with suppress(AttributeError, OSError, ValueError):  # no such question on Windows
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    known = [n_bytes for n_bytes in found if n_bytes is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    return _entry(Path("/proc/meminfo"), "MemAvailable:")


def _of_container() -> int | None:
    """What the control group of a container (version 2) leaves; None where it sets no limit."""
    limit = _limit_of_container()
    with suppress(OSError, ValueError):
        return limit and limit - int((CGROUP / "memory.current").read_text())
    return None


def _limit_of_container() -> int | None:
    with suppress(OSError, ValueError):  # "max" is no number
        return int((CGROUP / "memory.max").read_text())
    return None


def _of_limit() -> int | None:
    """What the limit on this process's address space leaves."""
    limit = _address_limit()
    taken = None if limit is None else address_space_bytes()
    return None if limit is None or taken is None else limit - taken


def _address_limit() -> int | None:
    """The limit on this process's address space; None where there is none."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def address_space_bytes(pid: int | None = None) -> int | None:
    """The address space that this process, or another, has taken; None where it is unknown."""
    return _entry(Path(f"/proc/{'self' if pid is None else pid}/status"), "VmSize:")


def _entry(path: Path, name: str) -> int | None:
    """A number of kB in a file of the system, in bytes; None where there is none."""
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * KIB
    return None


def resident_bytes(pid: int) -> int | None:
    """The memory that another process of ours holds; None where it is unknown."""
    import subprocess

    found = _entry(Path(f"/proc/{pid}/status"), "VmRSS:")
    if found is not None:
        return found
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        printed = subprocess.run(  # noqa: S603
            ["ps", "-o", "rss=", "-p", str(pid)],  # noqa: S607
            capture_output=True,
            timeout=5,
            check=True,
        )
        return int(printed.stdout) * KIB
    return None
