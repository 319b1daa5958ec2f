"""Outputs that appear whole or not at all, and fingerprints of inputs."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from diffusionblend.errors import InputError, OutputExistsError, OutputWriteError
from diffusionblend.io.placeholder import check_no_placeholder

STANDARD_ERROR = 2
"""Its file descriptor, which libraries in C++ write to."""
FULL_DISK_BYTES = 64 << 10
"""Less free space than this after a failed write means that the disk is full."""

PARTIAL, REPLACED = "partial", "replaced"
"""How temporary names end: of what is being written, and of an older folder that was moved away."""

MAX_NAME_BYTES = 255
"""The longest name of a file that common file systems take."""

BYTES_PER_MB = 1_000_000
HASH_PART_BYTES = 8 << 20
"""How much of a file is read at once for its hash."""

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

NUMPY_WROTE_LESS = " requested and "
"""Of NumPy's error where a disk takes a part of an array, which has no number."""
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk"),
    errno.EFBIG: ("the file would be larger than allowed", "raise the limit (ulimit -f)"),
    errno.EACCES: ("permission was denied", "write to a folder of your own"),
    errno.EPERM: ("the system does not permit it", "write to a folder of your own"),
    errno.EROFS: ("the disk is read-only", "write to another disk"),
    errno.EIO: ("the disk took only a part of it (an error or a quota)", "write to another disk"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
    errno.EEXIST: ("a part of the path is a file, not a folder", "choose another path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
}


def file_suffix(path: Path | str) -> str:
    """The suffix that determines a file's format, in lower case: `.nii.gz` for `a.1.nii.gz`."""
    suffixes = Path(path).suffixes
    if len(suffixes) > 1 and suffixes[-1].lower() in COMPRESSION_SUFFIXES:
        return "".join(suffixes[-2:]).lower()
    return suffixes[-1].lower() if suffixes else ""


def check_outputs_absent(paths: Iterable[Path | str], force: bool) -> None:
    """Refuse outputs that exist already or cannot be written, before any long work begins.

    Raises OutputExistsError for a file without `force`, and for a folder in a file's place always;
    OutputWriteError where the folder is read-only or closed to us.
    """
    for path in map(Path, paths):
        check_writable(path)
        if os.path.isdir(path):
            raise OutputExistsError(
                f"The output {path} is a folder.", "the name of a file", "add a file name to it"
            )
        if os.path.lexists(path) and not force:
            raise OutputExistsError(
                f"The output {path} exists already.",
                "a path that does not exist",
                "another path, or --force to overwrite it",
            )


def check_writable(path: Path | str) -> None:
    """Raises OutputWriteError where an output's folder, or where that is to be made, is no folder,
    on a read-only disk, or closed to us, and for a name that is too long.
    """
    path = Path(path)
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        why, try_ = _REASONS[errno.ENAMETOOLONG]
        raise OutputWriteError(
            f"The output {path} could not be written: {why}.",
            f"at most {MAX_NAME_BYTES} bytes",
            try_,
        )
    place = next((p for p in path.absolute().parents if os.path.lexists(p)), None)
    if place is None or (os.access(place, os.W_OK | os.X_OK) and place.is_dir()):
        return
    if not place.is_dir():
        number = errno.ENOTDIR
    else:
        read_only = os.name == "posix" and os.statvfs(place).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
    why, try_ = _REASONS[number]
    raise OutputWriteError(
        f"The output {path} could not be written: {why} ({place}).", "a place to write to", try_
    )


@contextmanager
def atomic_output(path: Path | str, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place only when the block succeeds.

    The temporary path has the same suffix, since libraries choose the format by it. Missing parent
    folders are made. On any failure, Ctrl-C included, the temporary file is removed and an existing
    output is left as it was; what a process killed outright (SIGKILL) left for this very output is
    removed first. Raises OutputExistsError, and OutputWriteError where the disk is full,
    read-only or closed to us; other errors of the block pass through.
    """
    path = Path(path)
    check_outputs_absent([path], force)
    temporary = temporary_path(path)
    _remove_leftovers(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        check_outputs_absent([path], force)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        failure = write_error(error, path, temporary)
        if failure is None:
            raise
        raise failure from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporary_path(path: Path, kind: str = PARTIAL) -> Path:
    """A hidden name beside `path` that names the output, the machine and the process."""
    owner = f"{machine_mark()}-{os.getpid()}-{secrets.token_hex(6)}"
    return path.with_name(f".{output_mark(path)}.{owner}.{kind}{file_suffix(path)}")


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files and folders of `path` whose process ran here and is no more.

    Where it was killed between moving an older folder away and putting the new one in its place,
    the older one is put back.
    """
    with suppress(OSError):
        for leftover, kind in leftovers_of(path):
            if kind == REPLACED and not os.path.lexists(path):
                os.replace(leftover, path)
            elif leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def leftovers_of(path: Path) -> list[tuple[Path, str]]:
    """What killed processes of this machine left beside `path`, and of which kind it is."""
    mark = re.escape(f".{output_mark(path)}.{machine_mark()}-")
    end = re.escape(file_suffix(path))
    pattern = re.compile(rf"{mark}(\d{{1,9}})-[0-9a-f]{{12}}\.({PARTIAL}|{REPLACED}){end}")
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return []
    found = [match for name in names if (match := pattern.fullmatch(name))]
    return [(path.with_name(m[0]), m[2]) for m in found if is_dead(int(m[1]))]


def output_mark(path: Path) -> str:
    """The output's name as its temporary and lock files carry it: its hash where it is long."""
    name = path.name.encode(errors="surrogateescape")
    return path.name if len(name) <= MAX_NAME_BYTES // 2 else hashlib.sha256(name).hexdigest()


@cache
def machine_mark() -> str:
    """A short hash of the host and its process numbering, which containers have of their own."""
    parts = [platform.node()]
    for source in (Path("/etc/machine-id").read_text, lambda: os.readlink("/proc/self/ns/pid")):
        with suppress(OSError):
            parts.append(source())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def is_dead(pid: int) -> bool:
    """Whether there is surely no such process; never asked where asking would end it (Windows)."""
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it lives, and is another user's; or it is no number of one
        return False
    return False


def check_folder_output(folder: Path | str, force: bool, kinds: tuple[str, ...]) -> None:
    """Refuse an output folder that is a file, not empty without `force`, or not of our making.

    kinds: the suffixes of the files that such an output holds, or whole names, those of folders
    with a slash ("0/"); a folder with anything else in it is never replaced. Raises
    OutputExistsError.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputExistsError(
            f"The output {folder} is a file.", "the name of a folder", "another name"
        )
    present = sorted(folder.iterdir())
    foreign = [p.name for p in present if not _is_of(p, kinds)]
    if foreign:
        raise OutputExistsError(
            f"The output {folder} holds other things, such as {foreign[0]}.",
            "a folder that does not exist, or an empty one",
            "another folder; --force replaces only what was written by the same command",
        )
    if present and not force:
        raise OutputExistsError(
            f"The output {folder} exists already, with {len(present)} file(s).",
            "a folder that does not exist",
            "another folder, or --force to replace it",
        )


def _is_of(path: Path, kinds: tuple[str, ...]) -> bool:
    """Whether a part of an output folder is one of its kinds."""
    if path.is_dir():
        return f"{path.name}/" in kinds
    return path.name in kinds or (file_suffix(path) or None) in kinds


@contextmanager
def atomic_folder(
    folder: Path | str, *, force: bool = False, kinds: tuple[str, ...]
) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, which takes its place only when the block succeeds.

    As `atomic_output`, for many files of `kinds`. On any failure the temporary folder is removed
    and an existing one is left as it was; so is what a process killed outright left for this very
    folder, and an older folder that it had moved away comes back. Raises OutputExistsError,
    OutputWriteError.
    """
    folder = Path(folder).absolute()
    _remove_leftovers(folder)
    check_folder_output(folder, force, kinds)
    temporary = temporary_path(folder)
    replaced = temporary_path(folder, REPLACED)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush_to_disk(path)
        check_folder_output(folder, force, kinds)
        if folder.is_dir():
            os.replace(folder, replaced)
        os.replace(temporary, folder)
    except (OSError, RuntimeError) as error:
        failure = write_error(error, folder, temporary)
        if failure is None:
            raise
        raise failure from error
    finally:
        if replaced.is_dir() and not folder.exists():
            os.replace(replaced, folder)
        for leftover in (temporary, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def sha256_of(path: Path | str, on_step: Callable[[int, int], None] | None = None) -> str:
    """SHA-256 of a file, or of a folder's files with their relative names, as hexadecimal.

    A folder's is the hash of the lines "<hash>  <name>", sorted by name; its subfolders count.
    on_step: called with the MB (10^6 bytes) done and in all. Raises InputError where there is
    nothing at `path`.
    """
    path = Path(path)
    is_folder = path.is_dir()
    if not is_folder:
        check_readable(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if is_folder else [path]
    n_bytes, n_done = sum(p.stat().st_size for p in files), 0

    def digest_of(file_path: Path) -> str:
        nonlocal n_done
        digest = hashlib.sha256()
        with open(file_path, "rb") as file:
            while part := file.read(HASH_PART_BYTES):
                digest.update(part)
                n_done += len(part)
                if on_step is not None:
                    on_step(n_done // BYTES_PER_MB, n_bytes // BYTES_PER_MB)
        return digest.hexdigest()

    if not is_folder:
        return digest_of(path)
    by_name = {p.relative_to(path).as_posix(): p for p in files}
    lines = "".join(f"{digest_of(by_name[name])}  {name}\n" for name in sorted(by_name))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Suppress what C++ libraries print on standard error; their exceptions contain it too."""
    sys.stderr.flush()
    kept, nowhere = os.dup(STANDARD_ERROR), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)


def check_readable(path: Path | str) -> None:
    """Raises InputError where `path` is not a file that can be opened, or is empty."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no {path}.", "an existing file", "check the path")
    if path.is_dir():
        raise InputError(f"{path} is a folder.", "a file", "a file in it")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device.", "a file", "write it into a file first")
    if not os.access(path, os.R_OK):
        raise InputError(
            f"{path} may not be read.",
            "a file with read permission",
            "'chmod +r', or ask its owner",
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes).", "a whole file", "copy it again")
    check_no_placeholder(path)


def _flush_to_disk(temporary: Path) -> None:
    """Have the system report now what it would otherwise report after the file was closed."""
    with open(temporary, "r+b") as file:
        os.fsync(file.fileno())


def write_error(
    error: Exception, path: Path, temporary: Path | None = None
) -> OutputWriteError | None:
    """The clear form of a failed write; None where `error` is about something else."""
    reason: tuple[str, str] | None
    if (
        temporary is not None
        and isinstance(error, FileNotFoundError)
        and error.filename == str(temporary)
    ):
        reason = ("the file was not written", "look for an earlier message")
    else:
        number = error.errno if isinstance(error, OSError) and _is_about(error, path) else None
        if type(error) is OSError and error.errno is None and NUMPY_WROTE_LESS in str(error):
            number = errno.EIO
        reason = None if number is None else _REASONS.get(number)
        unclear = reason is None or reason is _REASONS[errno.EIO]
        if unclear and _disk_is_full(error, path.parent):
            reason = _REASONS[errno.ENOSPC]
    if reason is None:
        return None
    why, try_ = reason
    return OutputWriteError(
        f"The output {path} could not be written: {why}.", "a place to write to", try_
    )


def _is_about(error: OSError, path: Path) -> bool:
    """Whether a system error concerns the output's folder (or names no file at all)."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    beside = named.parent == path.parent or named.parent.parent == path.parent
    return beside or named in path.parents or named == path


def _disk_is_full(error: Exception, folder: Path) -> bool:
    """Whether a library's own error, which may name no cause, comes from a full disk."""
    if os.strerror(errno.ENOSPC).lower() in str(error).lower():
        return True
    try:
        return shutil.disk_usage(folder).free < FULL_DISK_BYTES
    except OSError:
        return False
