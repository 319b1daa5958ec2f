"""MetaImage files (.mha, .mhd): header and voxels, from the file alone.

The format: itk.org/Wiki/MetaIO/Documentation. ITK 5.4 crashes on some damaged headers and leaves
units of length and the scale of the values aside.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import COPY_AGAIN, WRITE_ANEW
from diffusionblend.io.formats.placed import Placed, lengths_mm
from diffusionblend.io.formats.raw_data import (
    MAX_HEADER_BYTES,
    Layout,
    Part,
    beside,
    names_of_files,
    read_parts,
)

METAIMAGE_SUFFIXES = (".mha", ".mhd")
VOXEL_TYPES = {
    "MET_CHAR": "i1",
    "MET_ASCII_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
BYTE_ORDERS = ("binarydatabyteordermsb", "elementbyteordermsb")
"""Two names of one field."""
NO_ORIENTATION = ("", "???")
OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))
"""MetaIO names where an axis comes from, others where it goes to."""
OTHER_MODALITIES = ("MET_MOD_MR", "MET_MOD_NM", "MET_MOD_US")
MAX_DIMENSIONS = 10
STRETCH = 1e-3
LARGEST_AXIS = 1e6


def read_metaimage(path: Path) -> Placed:
    """The voxels of a MetaImage and their place. Raises InputError for what cannot be believed."""
    fields, first_voxel, listed = _header(path)
    n_dims = int(_numbers(fields, "ndims", path, 1)[0])
    if not 1 <= n_dims <= MAX_DIMENSIONS:
        raise InputError(f"{path} has {n_dims} dimensions (NDims).", "3", "copy it again")
    sizes = tuple(int(n) for n in _numbers(fields, "dimsize", path, n_dims))
    if min(sizes) < 1:
        raise InputError(
            f"{path} has the size {sizes}.",
            "at least one voxel along each axis",
            COPY_AGAIN,
        )
    extents = sizes
    while len(extents) > 3 and extents[-1] == 1:
        extents = extents[:-1]
    if len(extents) != 3:
        raise InputError(
            f"{path} has {len(extents)} dimensions, size {extents}.",
            "a volume of 3 dimensions",
            "a whole series in one file, or one time point of it",
        )
    layout = Layout(_dtype(fields, path), extents, _packing(fields))
    matrix, notes = _matrix(fields, n_dims, path)
    values, size_notes = read_parts(_parts(path, fields, first_voxel, listed), layout, path)
    values, scale_notes = _scaled(values, fields, path)
    return Placed(values, matrix, (*notes, *size_notes, *scale_notes))


def _header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """The fields by name in lower case, where the voxels begin, and the file names of a list."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    with path.open("rb") as file:
        while "elementdatafile" not in fields:
            line = file.readline(MAX_HEADER_BYTES)
            if not line or file.tell() > MAX_HEADER_BYTES:
                break
            text = os.fsdecode(line).strip()
            name, equals, value = text.partition("=")
            if text and not equals:
                break
            fields[name.strip().lower()] = value.strip()
        first_voxel = file.tell()
        if fields.get("elementdatafile", "").upper().startswith("LIST"):
            rest = os.fsdecode(file.read(MAX_HEADER_BYTES))
            listed = [name.strip() for name in rest.splitlines() if name.strip()]
    if not {"ndims", "dimsize", "elementtype", "elementdatafile"} <= set(fields):
        raise InputError(
            f"{path} is not a MetaImage, or its header is not whole.",
            "a header from ObjectType or NDims to ElementDataFile",
            "copy it again (it may be truncated), or check what the file is",
        )
    return fields, first_voxel, listed


def _numbers(fields: dict[str, str], name: str, path: Path, count: int) -> np.ndarray:
    """So many numbers of a field. Raises InputError for others."""
    try:
        found = np.array(fields[name].split(), float)
    except ValueError:
        found = np.array([np.nan])
    if len(found) != count or not np.isfinite(found).all():
        raise InputError(
            f"{path} has the {name} {fields[name][:80]!r} in its header.",
            f"{count} finite numbers",
            "copy it again, or write the header anew",
        )
    return found


def _dtype(fields: dict[str, str], path: Path) -> np.dtype:
    name = fields["elementtype"].upper()
    channels = fields.get("elementnumberofchannels", "1")
    if channels != "1":
        raise InputError(
            f"{path} has {channels} components per voxel (a colour image or a vector field).",
            "one CT number per voxel",
            "the CT series itself, not a screenshot or a fused image",
        )
    if name.removesuffix("_ARRAY") not in VOXEL_TYPES:
        raise InputError(
            f"{path} has voxels of {name}.",
            f"one of {', '.join(VOXEL_TYPES)}",
            "save it anew with one of these types of voxels",
        )
    dtype = np.dtype(VOXEL_TYPES[name.removesuffix("_ARRAY")])
    orders = {name: _is_true(fields[name]) for name in BYTE_ORDERS if name in fields}
    if len(set(orders.values())) > 1:
        raise InputError(
            f"{path} contradicts itself: {' and '.join(f'{n} = {v}' for n, v in orders.items())}.",
            "one order of bytes",
            "take one of the two lines out of the header",
        )
    return dtype.newbyteorder(">" if any(orders.values()) else "<")


def _packing(fields: dict[str, str]) -> str:
    if not _is_true(fields.get("binarydata", "True")):
        return "ascii"
    return "zlib" if _is_true(fields.get("compresseddata", "False")) else "raw"


def _is_true(text: str) -> bool:
    return text.strip()[:1].upper() in ("T", "1", "Y")


def _parts(path: Path, fields: dict[str, str], first_voxel: int, listed: list[str]) -> list[Part]:
    """Where the voxels lie: behind the header, or in files of their own."""
    named = fields["elementdatafile"]
    skip = int(_numbers(fields, "headersize", path, 1)[0]) if "headersize" in fields else 0
    if named.strip().upper() == "LOCAL":
        if 0 < skip < first_voxel:
            raise InputError(
                f"{path} contradicts itself: its voxels begin at byte {skip} (HeaderSize), within "
                f"the header, which ends at byte {first_voxel}.",
                "voxels behind the header",
                "take the line with HeaderSize out of the header",
            )
        last = skip == -1 and _packing(fields) == "raw"
        return [Part(path, max(skip, first_voxel), last)]
    names = names_of_files(named, listed, path)
    return [Part(beside(path, name), max(skip, 0), skip == -1) for name in names]


def _matrix(fields: dict[str, str], n_dims: int, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The matrix to LPS mm, and notes on what the header leaves open."""
    notes: list[str] = []
    spacing = np.ones(n_dims)
    named = [n for n in ("elementspacing", "elementsize") if n in fields]
    if named:
        spacing = _numbers(fields, named[0], path, n_dims)
    else:
        notes.append(f"{path} does not say how large its voxels are; 1 mm was taken.")
    turns = [n for n in ("transformmatrix", "orientation", "rotation") if n in fields]
    axes = np.eye(n_dims)
    if turns:
        axes = _numbers(fields, turns[0], path, n_dims * n_dims).reshape(n_dims, n_dims).T
    places = [n for n in ("offset", "position", "origin") if n in fields]
    origin = _numbers(fields, places[0], path, n_dims) if places else np.zeros(n_dims)
    if turns and not places:
        notes.append(f"{path} has no Offset: its first voxel is taken to lie at (0, 0, 0).")
    modality = fields.get("modality", "").upper()
    if modality in OTHER_MODALITIES:
        notes.append(f"{path} has the Modality {modality}: its values need not be HU.")
    if np.abs(axes).max() > LARGEST_AXIS:
        raise InputError(
            f"{path} has the {turns[0]} {fields[turns[0]]!r}.", "unit vectors", "copy it again"
        )
    lengths = np.linalg.norm(axes[:3, :3], axis=0)
    if np.abs(lengths - 1).max() > STRETCH:
        notes.append(
            f"{path} has axes of other lengths than 1 in its {turns[0]}: voxels grow by them."
        )
    unit = fields.get("distanceunits", "")
    scale = 1.0 if unit == "?" else lengths_mm(unit, path)
    if scale != 1:
        notes.append(f"{path} gives its lengths in {unit}; they were made mm.")
    centre = fields.get("centerofrotation", "0").split()
    if any(c.strip("-0.") for c in centre) and not np.allclose(axes, np.eye(n_dims)):
        notes.append(f"{path} has a CenterOfRotation, which was left aside, as ITK does.")
    _compare_orientation(fields, axes[:3, :3], bool(turns), path, notes)
    matrix = np.eye(4)
    matrix[:3, :3] = axes[:3, :3] * spacing[:3] * scale
    matrix[:3, 3] = origin[:3] * scale
    return matrix, tuple(notes)


def _compare_orientation(
    fields: dict[str, str], axes: np.ndarray, is_turned: bool, path: Path, notes: list[str]
) -> None:
    """Note where no orientation is given, or the letters contradict the matrix."""
    letters = fields.get("anatomicalorientation", "").upper()
    if not re.fullmatch("[LRAPSI]{3}", letters):
        if not is_turned:
            notes.append(
                f"{path} gives no orientation: left and right, front and back are not known, and "
                "were taken as if the axes were those of LPS."
            )
        return
    main = np.abs(axes).argmax(axis=0)
    found = "".join(("LPS" if axes[m, a] > 0 else "RAI")[m] for a, m in enumerate(main))
    if found not in (letters, "".join(OPPOSITE[c] for c in letters)):
        notes.append(
            f"{path} contradicts itself: its AnatomicalOrientation is {letters}, and its matrix "
            f"turns the axes to {found}. The matrix was taken, as ITK does."
        )


def _scaled(
    values: np.ndarray, fields: dict[str, str], path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values, scaled by ElementToIntensityFunction where there is one."""
    slope, offset = (
        float(_numbers(fields, name, path, 1)[0]) if name in fields else default
        for name, default in (
            ("elementtointensityfunctionslope", 1.0),
            ("elementtointensityfunctionoffset", 0.0),
        )
    )
    if (slope, offset) == (1.0, 0.0):
        return values, ()
    if slope == 0:
        raise InputError(
            f"{path} scales its values by 0.",
            "a slope other than 0",
            WRITE_ANEW,
        )
    note = f"{path} scales its values by {slope:g} and adds {offset:g}; that was done."
    return (values * slope + offset).astype(np.float32), (note,)
