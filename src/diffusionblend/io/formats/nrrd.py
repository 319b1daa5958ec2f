"""NRRD files (.nrrd, .nhdr): header and voxels, from the file alone.

The format: teem.sourceforge.net/nrrd/format.html. SimpleITK 2.5 leaves space units aside, knows no
bzip2, and gives sheared axes as if they were perpendicular.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import COPY_AGAIN
from diffusionblend.io.formats.placed import Placed, lengths_mm
from diffusionblend.io.formats.raw_data import (
    MAX_HEADER_BYTES,
    Layout,
    Part,
    beside,
    names_of_files,
    read_parts,
)

SAVE_ANEW = "copy it again, or save it anew with 3D Slicer"
NRRD_SUFFIXES = (".nrrd", ".nhdr")
TO_LPS = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
}
"""Spaces of the patient, and the signs that make them LPS."""
OTHER_SPACES = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
TIME_ENDS = ("-time", "t")
VOXEL_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int"), "i2"),
    **dict.fromkeys(("int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16"), "u2"),
    **dict.fromkeys(("uint16_t",), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long"), "i8"),
    **dict.fromkeys(("signed long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int"), "u8"),
    **dict.fromkeys(("uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
PACKINGS = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "txt": "ascii",
    "text": "ascii",
    "ascii": "ascii",
    "hex": "hex",
}
HU_NAMES = ("", "hu", "hounsfield", "hounsfield unit", "hounsfield units", "ct number")
SPATIAL_KINDS = ("domain", "space", "none", "???")


def read_nrrd(path: Path) -> Placed:
    """The voxels of an NRRD file and their place. Raises InputError for what cannot be believed."""
    fields, first_voxel, listed = _header(path)
    try:
        sizes = tuple(int(v) for v in fields["sizes"].split())
        dtype = np.dtype(VOXEL_TYPES[fields["type"].lower()])
        packing = PACKINGS[fields["encoding"].lower()]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} has a header without a known type, sizes or encoding: {error}.",
            f"an NRRD header, with one of the encodings {', '.join(sorted(set(PACKINGS)))}",
            "save it anew, for instance with 3D Slicer",
        ) from error
    if not sizes or min(sizes) < 1 or len(sizes) > 16:
        raise InputError(
            f"{path} has the sizes {sizes}.",
            "at least one voxel along each axis",
            COPY_AGAIN,
        )
    stated = fields.get("dimension", "")[:40]
    if stated not in ("", str(len(sizes))):
        what = f"its dimension is {stated!r}, and it has {len(sizes)} sizes"
        raise _contradiction(path, what, "a size for each dimension")
    if dtype.itemsize > 1 and packing not in ("ascii",):
        dtype = dtype.newbyteorder(_byte_order(fields, path))
    kept = _spatial_axes(fields, sizes, path)
    matrix, notes = _matrix(fields, kept, path)
    layout = Layout(
        dtype, tuple(sizes[axis] for axis in kept), packing, _skip(fields, "byte", path)
    )
    values, size_notes = read_parts(_parts(path, fields, first_voxel, listed), layout, path)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        values = values.astype(np.float32)  # `check_hu` counts them
    return Placed(values, matrix, (*notes, *size_notes, *_value_notes(fields, path)))


def _contradiction(path: Path, what: str, expected: str) -> InputError:
    try_ = SAVE_ANEW
    return InputError(f"{path} contradicts itself: {what}.", expected, try_)


def _header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """The fields by name, where the voxels begin behind them, and the file names of a list."""
    with path.open("rb") as file:
        raw = file.read(MAX_HEADER_BYTES)
    if not re.match(rb"NRRD000[1-6]\r?\n", raw):
        raise InputError(f"{path} is not an NRRD file.", "an NRRD header", "check what the file is")
    end = re.search(rb"\r?\n\r?\n", raw)
    head = raw if end is None else raw[: end.start()]
    encoding = "utf-8"
    try:
        lines = head.decode().splitlines()[1:]
    except UnicodeDecodeError:  # a micro sign or a file's name of old
        encoding = "latin-1"
        lines = head.decode(encoding).splitlines()[1:]
    fields: dict[str, str] = {}
    listed: list[str] = []
    for line in lines:
        if fields.get("data file", "").upper().startswith("LIST"):
            listed += [line.strip()] if line.strip() else []
            continue
        if line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise InputError(
                f"{path} has a header line without a colon: {line[:40]!r}.",
                "an NRRD header, ended by an empty line",
                SAVE_ANEW,
            )
        key, value = " ".join(name.lower().split()), value.strip()
        key = "data file" if key == "datafile" else key
        if fields.setdefault(key, value) != value:
            raise _contradiction(path, f"its header has the field {key[:40]!r} twice", "each once")
    listed = [os.fsdecode(name.encode(encoding)) for name in listed]
    if "data file" in fields:
        fields["data file"] = os.fsdecode(fields["data file"].encode(encoding))
    if end is None and "data file" not in fields:
        raise InputError(
            f"{path} is truncated: its header does not end.", "a whole file", "copy it again"
        )
    return fields, len(raw) if end is None else end.end(), listed


def _byte_order(fields: dict[str, str], path: Path) -> Literal["<", ">"]:
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big"):
        raise InputError(
            f"{path} does not say in which byte order its voxels are (endian).",
            "endian: little, or endian: big",
            "save it anew, for instance with 3D Slicer",
        )
    return "<" if endian == "little" else ">"


def _skip(fields: dict[str, str], what: str, path: Path) -> int:
    """Bytes or lines to leave out before the voxels; -1 of bytes means those at the end."""
    value = fields.get(f"{what} skip", fields.get(f"{what}skip", "0"))
    try:
        number = int(value)
    except ValueError as error:
        raise InputError(
            f"{path} has the {what} skip {value!r}.",
            "a whole number",
            COPY_AGAIN,
        ) from error
    return max(number, 0)


def _parts(path: Path, fields: dict[str, str], first_voxel: int, listed: list[str]) -> list[Part]:
    """Where the voxels lie: behind the header, or in files of their own."""
    lines = _skip(fields, "line", path)
    from_end = fields.get("byte skip", fields.get("byteskip", "0")).strip() == "-1"
    named = fields.get("data file")
    if named is None:
        return [Part(path, first_voxel, from_end, lines)]
    names = names_of_files(named, listed, path)
    return [Part(beside(path, name), 0, from_end, lines) for name in names]


def _spatial_axes(fields: dict[str, str], sizes: tuple[int, ...], path: Path) -> list[int]:
    """The three axes of space. Raises InputError where another has more than one sample."""
    directions = _vectors(fields, "space directions", path)
    kinds = fields.get("kinds", "").lower().split()
    if any(direction is not None for direction in directions):
        others = [axis for axis, direction in enumerate(directions) if direction is None]
    else:
        others = [axis for axis, kind in enumerate(kinds) if kind not in SPATIAL_KINDS]
    others = [axis for axis in others if axis < len(sizes)]
    many = [axis for axis in others if sizes[axis] > 1]
    if many:
        kind = kinds[many[0]] if many[0] < len(kinds) else ""
        what = "time points or phases" if kind == "time" else "components per voxel"
        raise InputError(
            f"{path} has {sizes[many[0]]} {what} ({kind or 'an axis that is not of space'}): a "
            "colour image, a vector field or several volumes.",
            "one CT number per voxel",
            "the CT series itself, or one time point of it",
        )
    kept = [axis for axis in range(len(sizes)) if axis not in others]
    while len(kept) > 3 and sizes[kept[-1]] == 1:
        kept.pop()
    if len(kept) != 3:
        raise InputError(
            f"{path} has {len(kept)} dimensions, size {tuple(sizes[a] for a in kept)}.",
            "a volume of 3 dimensions",
            "a whole series in one file, or one time point of it",
        )
    return kept


def _vectors(fields: dict[str, str], name: str, path: Path) -> list[tuple[float, ...] | None]:
    """The vectors of a field, `none` as None. Raises InputError for what are no numbers."""
    words = re.findall(r"\([^)]*\)|none", fields.get(name, "").lower())
    try:
        return [
            None if word == "none" else tuple(float(v) for v in word[1:-1].split(","))
            for word in words
        ]
    except ValueError as error:
        raise InputError(
            f"{path} has {name} that are no numbers: {error}.",
            "vectors such as (1.5,0,0)",
            SAVE_ANEW,
        ) from error


def _matrix(
    fields: dict[str, str], kept: list[int], path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The matrix to LPS mm, and notes on what the header leaves open."""
    space = " ".join(fields.get("space", "").lower().split())
    for end in TIME_ENDS:
        if space.removesuffix(end) in TO_LPS:
            space = space.removesuffix(end)
    if space and space not in (*TO_LPS, *OTHER_SPACES):
        raise InputError(
            f"{path} lies in the space {space!r}.", f"one of {', '.join(TO_LPS)}", "save it anew"
        )
    vectors = _vectors(fields, "space directions", path)
    steps = [vectors[axis] if axis < len(vectors) else None for axis in kept]
    origins = _vectors(fields, "space origin", path)
    notes: list[str] = []
    matrix = np.eye(4)
    if all(step is not None for step in steps):
        matrix[:3, :3] = _columns([step for step in steps if step is not None], path)
        scales = _scales(fields, "space units", path, notes)[:3]
        matrix[:3, :3] *= scales[:, None]
    else:
        scales = np.ones(3)
        matrix[:3, :3], matrix[:3, 3] = _plain_place(fields, kept, path, notes)
    if origins and origins[0] is not None:
        matrix[:3, 3] = np.array(origins[0][:3]) * scales
    elif space and all(step is not None for step in steps):
        notes.append(f"{path} has no space origin: its first voxel is taken to lie at (0, 0, 0).")
    placed = space in TO_LPS and all(step is not None for step in steps)
    if not placed:
        notes.append(
            f"{path} gives no patient orientation: left and right, front and back are not known, "
            "and were taken as if the axes were those of LPS."
        )
    signs = TO_LPS.get(space, (1, 1, 1)) if placed else (1, 1, 1)
    return np.diag([*signs, 1.0]) @ matrix, tuple(notes)


def _columns(steps: list[tuple[float, ...]], path: Path) -> np.ndarray:
    if any(len(step) < 3 for step in steps):
        raise InputError(
            f"{path} has space directions of {len(steps[0])} numbers.",
            "three of each",
            SAVE_ANEW,
        )
    return np.column_stack([step[:3] for step in steps])


def _plain_place(
    fields: dict[str, str], kept: list[int], path: Path, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (3 x 3) and first voxel in mm of a file that names no directions.

    By `spacings` and `axis mins`, or `axis mins` and `axis maxs`; 1 mm where they are not known. A
    minimum is where the first voxel begins, or with `centerings` of nodes its middle.
    """
    sizes = np.array([int(v) for v in fields["sizes"].split()])
    units = _scales(fields, "units", path, notes)
    scales = np.concatenate([units, np.ones(len(sizes))])[kept]
    sizes = sizes[kept]
    spacings, lowest, highest = (
        _each_axis(fields, names, kept, path)
        for names in (("spacings",), ("axis mins", "axismins"), ("axis maxs", "axismaxs"))
    )
    centres = fields.get("centerings", fields.get("centers", "")).lower().split()
    nodes = np.array([a < len(centres) and centres[a] == "node" for a in kept])
    between = (highest - lowest) / np.maximum(np.where(nodes, sizes - 1, sizes), 1)
    both = np.isfinite(spacings) & np.isfinite(between)
    if not np.allclose(spacings[both], between[both], rtol=1e-3):
        notes.append(
            f"{path} contradicts itself: by its spacings voxels are {_listed(spacings)} apart, by "
            f"its axis mins and maxs {_listed(between)} (x, y, z). The spacings were taken."
        )
    steps = np.where(np.isfinite(spacings) & (spacings != 0), spacings, between) * scales
    known = np.isfinite(steps) & (steps != 0)
    if not known.all():
        notes.append(f"{path} does not say how large its voxels are; 1 mm was taken.")
        steps = np.where(known, steps, 1.0)
    first = lowest * scales + np.where(nodes, 0, steps / 2)
    return np.diag(steps), np.where(np.isfinite(first), first, 0.0)


def _each_axis(
    fields: dict[str, str], names: tuple[str, ...], kept: list[int], path: Path
) -> np.ndarray:
    """The numbers of a field for the axes of space, NaN where it has none. Raises InputError."""
    words = next((fields[name].split() for name in names if name in fields), [])
    try:
        return np.array([float(words[a]) if a < len(words) else np.nan for a in kept])
    except ValueError as error:
        raise InputError(
            f"{path} has {names[0]} that are no numbers: {error}.",
            "numbers",
            SAVE_ANEW,
        ) from error


def _listed(numbers: np.ndarray) -> str:
    return " x ".join(f"{v:g}" for v in numbers)


def _scales(fields: dict[str, str], name: str, path: Path, notes: list[str]) -> np.ndarray:
    """Millimetres in the unit of each axis; at least three numbers."""
    text = fields.get(name, "")
    units = re.findall(r'"([^"]*)"', text) or text.split()
    scales = np.array([lengths_mm(unit, path) if unit != "???" else 1.0 for unit in units])
    if len(scales) and (scales != 1).any():
        notes.append(
            f"{path} gives its lengths in {', '.join(dict.fromkeys(units))}; they were made mm."
        )
    return np.concatenate([scales, np.ones(max(0, 3 - len(scales)))])


def _value_notes(fields: dict[str, str], path: Path) -> tuple[str, ...]:
    """Notes where the header says that the numbers are not HU."""
    notes = []
    unit = fields.get("sample units", fields.get("sampleunits", "")).strip('" ')
    if unit.lower() not in HU_NAMES:
        notes.append(f"{path} says that its values are in {unit!r}, which is not HU.")
    olds = [n for n in ("old min", "old max", "oldmin", "oldmax") if n in fields]
    if olds:
        notes.append(
            f"{path} says that its values were {olds[0].replace('old', 'of the range ')} "
            f"{fields[olds[0]]} before they were quantised; that is not undone."
        )
    return tuple(notes)
