"""Files that stand for another: what is left where a download or `git lfs pull` did not happen."""

from __future__ import annotations

from pathlib import Path

from diffusionblend.errors import InputError

LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html")
START_BYTES = 256


def check_no_placeholder(path: Path) -> None:
    """Raises InputError where a file is a pointer of Git LFS, or a page of the web."""
    with path.open("rb") as file:
        start = file.read(START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(LFS):
        raise InputError(
            f"{path} is a pointer of Git LFS ({path.stat().st_size} bytes), not the data.",
            "the file itself",
            "'git lfs pull' in its repository, or download the file from its page",
        )
    if start.lower().startswith(PAGES) and path.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"{path} is a page of the web (HTML), not the data: a login or an error, as a rule.",
            "the file itself",
            "open it in a browser to see what it says, then download the file again",
        )
