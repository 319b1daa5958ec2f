"""What a run was: settings, versions, seed, inputs, times; kept beside its output.

A record contains no user or host names: paths below the home folder are written with `~`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from diffusionblend import __version__
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output, sha256_of
from diffusionblend.io.json_file import read_json_object

if TYPE_CHECKING:
    from diffusionblend.priors.prior import Prior

RECORD_SUFFIX = ".run.json"
RECORD_VERSION = 2
PACKAGES = (
    *("torch", "numpy", "scipy", "numba", "diffusers", "accelerate", "SimpleITK", "pydicom"),
    *("h5py", "scikit-image", "openvino", "nncf"),
)
BYTES_PER_MB = 1e6
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""What `ru_maxrss` counts in."""


def versions() -> dict[str, str]:
    """Versions of this package, Python, the libraries (if installed) and the platform.

    Nothing is imported for it.
    """
    from importlib import metadata

    found = {"diffusionblend": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    return found


@dataclass(kw_only=True)
class RunRecord:
    """One run of a command; fill it while it runs, then `write` it beside the output.

    command: what was run. settings: its options, plain values; of a method the chosen one's,
    resolved.
    inputs: path, sha256 and bytes of each input file. priors: name and SHA-256 of the weights of
    those it ran with, by their roles. weights_sha256: of the prior that it trained. noise_device:
    where random numbers were drawn. seconds: per part. peak_memory_mb: of the process and, where
    torch uses one, the GPU. results: what came out (residual, network share, metrics).
    """

    command: str
    settings: dict[str, object]
    seed: int | None = None
    device: str = "cpu"
    inputs: list[dict[str, object]] = field(default_factory=list)
    priors: dict[str, dict[str, object]] = field(default_factory=dict)
    weights_sha256: str | None = None
    noise_device: str = "cpu"
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=versions)
    record_version: int = RECORD_VERSION

    def add_input(
        self,
        path: Path | str,
        on_step: Callable[[int, int], None] | None = None,
        *,
        sha256: str | None = None,
    ) -> None:
        """Add an input file or folder with its hash, computed unless it is known already.

        on_step: called with the MB hashed and in all. Raises InputError where it is not there.
        """
        path = Path(path)
        digest = sha256_of(path, on_step) if sha256 is None else sha256
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        n_bytes = sum(p.stat().st_size for p in files)
        self.inputs.append({"path": portable_path(path), "sha256": digest, "bytes": n_bytes})

    def add_priors(self, priors: Mapping[str, Prior]) -> None:
        """Add loaded priors, by their roles: what each was named, and the hash of its weights."""
        for role, prior in priors.items():
            source = getattr(prior, "source", None)
            name = None if source is None else portable_path(source)
            self.priors[role] = {"name": name, "weights_sha256": prior.weights_sha256}

    def changed_inputs(self, on_step: Callable[[int, int], None] | None = None) -> list[str]:
        """The inputs, as recorded, that are gone or hold other bytes by now.

        on_step: called with the MB of an input hashed and in all.
        """
        changed = []
        for entry in self.inputs:
            path, noted = path_of_portable(str(entry["path"])), entry.get("bytes")
            digest = None
            with suppress(OSError, ValueError):  # not to be read, or no path
                n_bytes = _bytes_at(path, noted)
                if n_bytes is not None and n_bytes == noted:  # else there is no need to read it
                    digest = sha256_of(path, on_step)
            if digest is None or digest != entry.get("sha256"):
                changed.append(str(entry["path"]))
        return changed

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the block's wall time in seconds to `seconds[part]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    def write(self, path: Path | str, *, force: bool = False) -> None:
        """Write the record as JSON, whole or not at all, with the peak memory until now.

        Raises OutputExistsError, OutputWriteError, and InputError for values that are not plain.
        """
        self.peak_memory_mb = peak_memory_mb()
        entries = cast("dict[str, object]", plain_value(self))
        if self.weights_sha256 is None:  # of a command that trains nothing
            del entries["weights_sha256"]
        text = json.dumps(entries, indent=2, allow_nan=False) + "\n"
        with atomic_output(path, force=force) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _bytes_at(path: Path, most: object) -> int | None:
    """The size of a file, or of a folder's files, counted no further than beyond `most`."""
    if not isinstance(most, int) or not path.exists():
        return None
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        total += file.stat().st_size if file.is_file() else 0
        if total > most:
            break
    return total


def run_record_path(output: Path | str) -> Path:
    """Where the record of a run that made `output` lies: `<output>.run.json`, beside it."""
    output = Path(output)
    if not output.name:  # "." or "": a folder given by where one stands
        output = output.resolve()
    return output.with_name(output.name + RECORD_SUFFIX)


AS_WRITTEN = "a record as a run wrote it"
ONCE_MORE = "copy it again, or the run once more"


def read_run_record(path: Path | str) -> RunRecord:
    """Read a record; raises InputError for another kind of file or a newer version of it."""
    path = Path(path)
    expected = f"a file that ends in {RECORD_SUFFIX}"
    entries = read_json_object(path, "a run record", expected, ONCE_MORE)
    known = {f.name for f in fields(RunRecord)}
    version = entries.get("record_version")
    if version is not None and (version != RECORD_VERSION or not set(entries) <= known):
        raise InputError(
            f"{path} is a run record of version {version}; this diffusionblend reads version "
            f"{RECORD_VERSION}.",
            f"a record of version {RECORD_VERSION}",
            "the version of diffusionblend that wrote it, or the run once more",
        )
    if version is None or not {"command", "settings"} <= set(entries):
        raise InputError(
            f"{path} is not a run record: it has no command and settings.",
            expected,
            ONCE_MORE,
        )
    if not all(map(_is_text, _texts(entries))):
        raise InputError(
            f"{path} is not a run record: it has texts that are none of a file's or a setting's.",
            AS_WRITTEN,
            ONCE_MORE,
        )
    record = RunRecord(**entries)
    wrong = [name for name, kind in _KINDS.items() if not isinstance(getattr(record, name), kind)]
    whole = not wrong and all(
        isinstance(e, dict) and isinstance(e.get("path"), str) for e in record.inputs
    )
    if not whole or not all(isinstance(p, dict) for p in record.priors.values()):
        raise InputError(
            f"{path} is not a run record: {wrong[0] if wrong else 'an input or prior'} is not what "
            "a run writes.",
            AS_WRITTEN,
            ONCE_MORE,
        )
    return record


def _texts(value: object) -> Iterator[str]:
    """All texts within values of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for part in inner:
            yield from _texts(part)


def _is_text(text: str) -> bool:
    """Whether the system takes a text, as the name of a file."""
    with suppress(UnicodeEncodeError):
        return b"\0" not in os.fsencode(text)
    return False


_KINDS: dict[str, type | tuple[type, ...]] = {
    "command": str,
    "settings": dict,
    "inputs": list,
    "priors": dict,
    "seconds": dict,
    "results": dict,
    "versions": dict,
    "started": str,
}
"""What the fields of a record are in its file."""


def peak_memory_mb() -> dict[str, float]:
    """The process's peak memory in MB (10^6 bytes), and torch's on the GPU where it uses one."""
    peaks = {}
    process_bytes = _peak_process_bytes()
    if process_bytes is not None:
        peaks["process"] = round(process_bytes / BYTES_PER_MB, 1)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        peaks["gpu"] = round(torch.cuda.max_memory_allocated() / BYTES_PER_MB, 1)
    return peaks


def restart_peak_memory() -> None:
    """Count peaks from now on, for a figure of one part of a run; Linux alone allows it.

    Elsewhere the process's peak stays that since its start.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_process_bytes() -> int | None:
    """The process's peak resident memory; None where it is unknown."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage counts what the parent had before the program started
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES


def portable_path(path: Path | str) -> str:
    """A path without the user's name: what lies below the home folder begins with `~`."""
    text, home = os.fspath(path), str(Path.home())
    if Path(text).is_absolute() and (text == home or text.startswith(home.rstrip(os.sep) + os.sep)):
        return "~" + text[len(home.rstrip(os.sep)) :]
    return text


def path_of_portable(text: str) -> Path:
    """The path that `portable_path` has written; as it is where its user is not known here."""
    with suppress(RuntimeError):
        return Path(text).expanduser()
    return Path(text)


def plain_record(record: RunRecord) -> dict[str, Any]:
    """A record as JSON takes it."""
    return cast("dict[str, Any]", plain_value(record))


def plain_value(value: object) -> object:
    """`value` as JSON takes it: no paths, arrays, dataclasses; "nan", "inf" and "-inf" as text.

    Raises InputError for any other kind.
    """
    if isinstance(value, Enum):
        return plain_value(value.value)
    if isinstance(value, np.ndarray | np.generic):
        return plain_value(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | os.PathLike):
        return portable_path(os.fspath(value))
    if is_dataclass(value) and not isinstance(value, type):
        return plain_value(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(v) for v in value]
    raise InputError(
        f"A run record cannot hold a {type(value).__name__}.",
        "numbers, text, lists and mappings",
        "plain values in their place",
    )
