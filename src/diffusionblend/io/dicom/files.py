"""Which files of a folder are DICOM: with or without preamble or ending, or named by a DICOMDIR."""

from __future__ import annotations

import warnings
from pathlib import Path

from diffusionblend.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
DICOMDIR = "DICOMDIR"
PREAMBLE_BYTES = 132
"""128 free bytes and the letters DICM."""
FIRST_GROUPS = (2, 8)
"""The groups that a data set of an image begins with."""
MAX_FIRST_LENGTH = 1 << 10
"""How long the first element, without an explicit type, may be: a number, a UID or a short text."""
TYPE_LETTERS = (b"UI", b"UL", b"CS", b"OB", b"DA", b"TM", b"SH", b"LO", b"PN", b"ST", b"DT")


def dicom_paths(source: Path) -> list[Path]:
    """The files in question: a folder's own, and those that its DICOMDIR names; or a single file.

    Other subfolders are not searched. Raises InputError for no folder.
    """
    if source.name.upper() == DICOMDIR and source.is_file():
        source = source.parent
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(
            f"There is no folder {source}.", "a folder of DICOM slices", "check the path"
        )
    own = sorted(p for p in source.iterdir() if p.is_file())
    directory = next((p for p in own if p.name.upper() == DICOMDIR), None)
    named = [] if directory is None else _named_by(directory)
    return list(dict.fromkeys([*own, *named]))


def is_named_dicom(path: Path) -> bool:
    """Whether a name ends as those of DICOM files do."""
    return path.suffix.lower() in DICOM_SUFFIXES


def begins_as_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, with its preamble or, as some exports, without."""
    with path.open("rb") as file:
        start = file.read(PREAMBLE_BYTES)
    return start[128:132] == b"DICM" or _begins_with_an_element(start)


def is_cut_in_preamble(path: Path) -> bool:
    """Whether a file is what is left of a DICOM file that ends within its preamble."""
    size = path.stat().st_size
    return 0 < size < PREAMBLE_BYTES and not path.read_bytes().strip(b"\0")


def _begins_with_an_element(start: bytes) -> bool:
    """Whether the first bytes are an element of group 2 or 8, in either byte order."""
    if len(start) < 8:
        return False
    for order in ("little", "big"):
        group = int.from_bytes(start[:2], order)
        if group in FIRST_GROUPS:
            length = int.from_bytes(start[4:8], order)
            if start[4:6] in TYPE_LETTERS or 0 < length <= MAX_FIRST_LENGTH:
                return True
    return False


def _named_by(directory: Path) -> list[Path]:
    """The files that a DICOMDIR names and that are there; none where it cannot be read."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = pydicom.dcmread(directory).get("DirectoryRecordSequence") or ()
            names = [record.get("ReferencedFileID") for record in records]
    except Exception:  # whatever is broken in it: the folder is read anyway
        return []
    found = []
    for name in names:
        parts = [name] if isinstance(name, str) else list(name or ())
        path = _in_any_case(directory.parent, [str(part) for part in parts])
        if path is not None:
            found.append(path)
    return found


def _in_any_case(folder: Path, parts: list[str]) -> Path | None:
    """A file by its path on a medium, in capitals; copies are often in small letters."""
    path = folder
    for part in parts:
        if part in ("", ".", "..") or "/" in part or "\\" in part:
            return None
        if not (path / part).exists():
            same = (
                [p for p in path.iterdir() if p.name.upper() == part.upper()]
                if path.is_dir()
                else []
            )
            if not same:
                return None
            part = same[0].name
        path = path / part
    return path if parts and path.is_file() else None
