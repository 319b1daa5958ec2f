"""Files that can be made again, kept for the next run in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from diffusionblend.io.atomic import atomic_output

VARIABLE = "DIFFUSIONBLEND_CACHE"
"""Names another folder."""
MAGIC, LINE_END = b"diffusionblend cache 1 ", b"\n"


def cache_folder() -> Path:
    """The folder: what DIFFUSIONBLEND_CACHE names, or `diffusionblend` in the user's caches."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffusionblend"


def keep(path: Path, identity: Mapping[str, object], parts: Sequence[bytes]) -> None:
    """Write parts with what they were made of; the file appears whole. Raises OutputWriteError."""
    header = {"identity": identity, "sizes": [len(part) for part in parts]}
    content = json.dumps(header).encode() + LINE_END + b"".join(parts)
    with atomic_output(path, force=True) as temporary:
        temporary.write_bytes(MAGIC + _digest(content) + LINE_END + content)


def kept(path: Path, identity: Mapping[str, object]) -> tuple[list[bytes] | None, str]:
    """The parts of a file that was made of the same, or None and why they cannot be used.

    The reason is empty where there is no file.
    """
    try:
        whole = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"could not be read ({error.strerror})"
    start, _, content = whole.partition(LINE_END)
    if start + LINE_END != MAGIC + _digest(content) + LINE_END:
        return None, "is damaged"
    line, _, values = content.partition(LINE_END)
    header = json.loads(line)
    if header["identity"] != identity:
        differ = [n for n in identity if header["identity"].get(n) != identity[n]]
        return None, f"was made with another {', '.join(differ)}"
    ends = list(accumulate(header["sizes"]))
    return [values[a:b] for a, b in zip([0, *ends], ends, strict=False)], ""


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
