"""Names of files for libraries that take UTF-8 alone.

A name of another encoding, as old archives unpack on Linux, is a str with surrogates in Python, on
which SimpleITK ends the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def plain_path(path: Path) -> Iterator[str]:
    """The path as text for a library; by a link in a temporary folder where it is no UTF-8.

    The file need not exist yet: what is written to the link comes to be at `path`.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"file{_ascii_suffixes(path)}"
            link.symlink_to(path.absolute())
            yield str(link)
        return
    yield str(path)


def _ascii_suffixes(path: Path) -> str:
    """The last one or two suffixes, by which libraries recognise formats."""
    suffixes = path.suffixes[-2:] if path.suffix.lower() in (".gz", ".bz2") else path.suffixes[-1:]
    return "".join(suffixes).encode("ascii", "ignore").decode()
