"""The header of a NIfTI file, version 1 or 2, in either byte order, and where it places the voxels.

The standard: nifti.nimh.nih.gov, `nifti1.h` and `nifti2.h`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import WRITE_ANEW

HEADER_BYTES = 348
NIFTI_2_HEADER_BYTES = 540
"""The header's first number, its own length, gives the version of NIfTI."""
SINGLE_FILE = {1: b"n+1", 2: b"n+2"}
VOXEL_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
"""NIfTI's codes of the voxel types that hold one number, and NumPy's names for them."""
OTHER_TYPES = {
    1: "single bits",
    32: "complex numbers",
    128: "colours",
    1536: "floats of 16 bytes",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "colours",
}
PACKED_MAGICS = (b"\x1f\x8b", b"BZ", b"PK")
FINEST_PLAIN_MM, COARSEST_PLAIN_MM = 0.05, 20.0
"""Voxels of other sizes, in a file that names no unit, are told."""
MM_PER_CODE = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
"""The unit of length, in the lowest three bits of `xyzt_units`: unknown, metre, mm, micrometre."""
UNIT_NAMES = {1: "metres", 3: "micrometres"}
MAX_DIMENSIONS = 7
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MAX_QUATERNION_EXCESS = 1e-3
"""How far b² + c² + d² may exceed 1 by rounding."""
SAME_FORM_VOXELS = 0.1
"""How far apart two forms may place a corner, in the smallest voxel size, and count as the same."""
SAME_ZOOM = 0.01
SCANNER_CODE, TEMPLATE_CODES = 1, (3, 4, 5)
"""The codes of forms that place voxels in the scanner, and in a template (Talairach, MNI)."""


@dataclass(frozen=True)
class NiftiHeader:
    """The fields that place and scale voxels, as they are written; `order` is "<" or ">"."""

    order: str
    version: int
    dims: tuple[int, ...]
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: float
    slope: float
    inter: float
    xyzt_units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, float, float]
    qoffset: tuple[float, float, float]
    srow: tuple[float, ...]
    magic: bytes

    @property
    def dtype(self) -> np.dtype:
        """The voxels' type, in the file's byte order."""
        return np.dtype(self.order + VOXEL_TYPES[self.datatype])

    @property
    def extents(self) -> tuple[int, ...]:
        """Voxels along each axis, without axes of one voxel beyond the third."""
        extents = self.dims[1 : 1 + self.dims[0]]
        while len(extents) > 3 and extents[-1] == 1:
            extents = extents[:-1]
        return extents

    @property
    def offset_bytes(self) -> int:
        """Where the voxels begin in the uncompressed file."""
        return int(self.vox_offset)


FIELDS = {
    1: {
        "dims": (40, "8h"),
        "datatype": (70, "h"),
        "bitpix": (72, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "slope": (112, "f"),
        "inter": (116, "f"),
        "xyzt_units": (123, "B"),
        "qform_code": (252, "h"),
        "sform_code": (254, "h"),
        "quaternion": (256, "3f"),
        "qoffset": (268, "3f"),
        "srow": (280, "12f"),
        "magic": (344, "4s"),
    },
    2: {
        "magic": (4, "4s"),
        "datatype": (12, "h"),
        "bitpix": (14, "h"),
        "dims": (16, "8q"),
        "pixdim": (104, "8d"),
        "vox_offset": (168, "q"),
        "slope": (176, "d"),
        "inter": (184, "d"),
        "qform_code": (344, "i"),
        "sform_code": (348, "i"),
        "quaternion": (352, "3d"),
        "qoffset": (376, "3d"),
        "srow": (400, "12d"),
        "xyzt_units": (500, "i"),
    },
}
"""Where each field begins in the header of a version, and its type."""


def parsed_header(raw: bytes, path: Path) -> NiftiHeader:
    """The header in the first bytes of a file. Raises InputError for another, or a broken one."""
    for order in "<>":
        n_header = struct.unpack_from(f"{order}i", raw)[0] if len(raw) >= 4 else 0
        if n_header not in (HEADER_BYTES, NIFTI_2_HEADER_BYTES):
            continue
        if len(raw) < n_header:
            raise truncated(path, "its header is not whole")
        version = 1 if n_header == HEADER_BYTES else 2
        fields = {
            name: struct.unpack_from(order + kind, raw, offset)
            for name, (offset, kind) in FIELDS[version].items()
        }
        whole: dict[str, Any] = {n: v if len(v) > 1 else v[0] for n, v in fields.items()}
        header = NiftiHeader(order, version, **whole)
        _check(header, path)
        return header
    packed = raw[:2] in PACKED_MAGICS
    raise InputError(
        f"{path} is not a NIfTI file{', but one that is packed once more' if packed else ''}.",
        "a NIfTI header",
        "unpack it once" if packed else "check what the file is",
    )


def truncated(path: Path, how: str) -> InputError:
    """The error for a file that ends too early."""
    return InputError(f"{path} is truncated: {how}.", "a whole NIfTI file", "copy it again")


def _check(header: NiftiHeader, path: Path) -> None:
    """Raises InputError for a header that is damaged or of voxels that are no numbers."""
    if header.magic[:3] in (b"ni1", b"ni2"):
        raise InputError(
            f"{path} is the header of a pair of files (.hdr and .img).",
            "one file with header and voxels",
            "save it as .nii, for instance with 3D Slicer or nibabel",
        )
    if header.magic[:3] != SINGLE_FILE[header.version]:
        raise InputError(
            f"{path} is not a NIfTI file: its magic number is {header.magic!r}, as of an Analyze "
            "file, which does not say where left and right are.",
            "a NIfTI header",
            "convert it where its orientation is known, for instance in 3D Slicer",
        )
    if not 1 <= header.dims[0] <= MAX_DIMENSIONS or min(header.dims[1 : 1 + header.dims[0]]) < 1:
        raise InputError(
            f"{path} has the dimensions {header.dims} in its header.",
            "the number of axes and at least one voxel along each",
            "copy it again",
        )
    if header.datatype not in VOXEL_TYPES:
        what = OTHER_TYPES.get(header.datatype, f"the unknown type {header.datatype}")
        raise InputError(
            f"{path} has voxels of {what}.", "one number per voxel", "the CT series itself"
        )
    if header.bitpix not in (0, header.dtype.itemsize * 8):
        raise InputError(
            f"{path} contradicts itself: its datatype is {header.dtype.name}, of "
            f"{header.dtype.itemsize * 8} bits, and its bitpix {header.bitpix}.",
            "the same in both",
            WRITE_ANEW,
        )
    least = NIFTI_2_HEADER_BYTES if header.version == 2 else HEADER_BYTES
    if not math.isfinite(header.vox_offset) or not (
        header.vox_offset == 0 or least <= header.vox_offset <= 1 << 40
    ):
        raise InputError(
            f"{path} has its voxels from byte {header.vox_offset:g} on (vox_offset).",
            f"a whole number from {least + 4}",
            WRITE_ANEW,
        )
    if len(header.extents) != 3:
        raise InputError(
            f"{path} has {len(header.extents)} dimensions, size {header.extents}.",
            "a volume of 3 dimensions",
            "a whole series in one file, or one time point or phase of it",
        )


def matrix_lps(header: NiftiHeader, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The matrix from the index (i, j, k) to LPS mm, and notes on what the header leaves open.

    The sform, where its code is set, is taken before the qform, as nibabel and FSL do; without both
    the spacing alone is known. Raises InputError where no form can be used.
    """
    notes: list[str] = []
    sform = _sform(header) if header.sform_code > 0 else None
    qform = _qform(header) if header.qform_code > 0 else None
    for name, code, form in (
        ("sform", header.sform_code, sform),
        ("qform", header.qform_code, qform),
    ):
        if code > 0 and form is None:
            notes.append(f"{path} has a {name} (code {code}) that places nothing; it is not used.")
    matrix = sform if sform is not None else qform
    if matrix is None and max(header.sform_code, header.qform_code) > 0:
        raise InputError(
            f"{path} does not say where it lies: its forms (sform code {header.sform_code}, qform "
            f"code {header.qform_code}) place nothing.",
            "a sform or a qform of finite numbers",
            "another export of the series",
        )
    if matrix is None:
        matrix = _without_forms(header)
        notes.append(
            f"{path} has neither sform nor qform: left and right, front and back are not known, "
            "and were taken as if the axes ran to L, P and S."
        )
    elif sform is not None and qform is not None:
        matrix = _settled(header, sform, qform, path, notes)
    elif sform is not None:
        _compare_zooms(header, sform, path, notes)
    if min(header.pixdim[1:4]) < 0:
        notes.append(f"{path} has a negative pixdim; its size alone was used.")
    return RAS_TO_LPS @ _in_mm(header, matrix, path, notes), tuple(notes)


def _sform(header: NiftiHeader) -> np.ndarray | None:
    """The sform to RAS; None where it is singular or not finite."""
    matrix = np.vstack([np.reshape(header.srow, (3, 4)), [0, 0, 0, 1]]).astype(float)
    return matrix if _is_usable(matrix) else None


def _qform(header: NiftiHeader) -> np.ndarray | None:
    """The qform to RAS (nifti1.h, method 2); None where it is no rotation or has no spacing."""
    b, c, d = header.quaternion
    a_squared = 1.0 - (b * b + c * c + d * d)
    if not a_squared >= -MAX_QUATERNION_EXCESS:  # NaN fails this too
        return None
    a = math.sqrt(max(a_squared, 0.0))
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * _zooms(header) * [1, 1, -1 if header.pixdim[0] < 0 else 1]
    matrix[:3, 3] = header.qoffset
    return matrix if _is_usable(matrix) else None


def _is_usable(matrix: np.ndarray) -> bool:
    if not np.isfinite(matrix).all():
        return False
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(sizes.min() > 0) and abs(np.linalg.det(matrix[:3, :3] / sizes)) > 1e-4


def _without_forms(header: NiftiHeader) -> np.ndarray:
    """Spacing alone (nifti1.h, method 1), the axes as SimpleITK has them."""
    return RAS_TO_LPS @ np.diag([*_zooms(header), 1.0])


def _zooms(header: NiftiHeader) -> np.ndarray:
    return np.abs(np.array(header.pixdim[1:4], float))


def _settled(
    header: NiftiHeader, sform: np.ndarray, qform: np.ndarray, path: Path, notes: list[str]
) -> np.ndarray:
    """The sform, unless both forms place all voxels alike: then the qform, which is rigid."""
    last = np.array(header.extents) - 1
    corners = np.array(np.meshgrid(*[(0, n) for n in last], indexing="ij")).reshape(3, -1)
    apart = np.linalg.norm(
        ((sform - qform)[:3] @ np.vstack([corners, np.ones(corners.shape[1])])), axis=0
    )
    smallest = np.linalg.norm(sform[:3, :3], axis=0).min()
    if apart.max() <= SAME_FORM_VOXELS * smallest:
        return qform
    unit = MM_PER_CODE.get(header.xyzt_units & 7, 1.0)
    in_template = header.sform_code in TEMPLATE_CODES and header.qform_code == SCANNER_CODE
    choice = (
        "The qform was taken: the sform is of a template, not of the scanner."
        if in_template
        else "The sform was taken, as nibabel and FSL do; ITK may take the qform."
    )
    notes.append(
        f"{path} contradicts itself: its sform (code {header.sform_code}) and qform (code "
        f"{header.qform_code}) lie up to {apart.max() * unit:.3g} mm apart. {choice}"
    )
    return qform if in_template else sform


def _compare_zooms(header: NiftiHeader, sform: np.ndarray, path: Path, notes: list[str]) -> None:
    """Note where pixdim names another spacing than the only form."""
    sizes = np.linalg.norm(sform[:3, :3], axis=0)
    zooms = _zooms(header)
    if not np.abs(zooms - sizes).max() <= SAME_ZOOM * sizes.min():  # NaN fails this too
        x, y, z = sizes
        notes.append(
            f"{path} contradicts itself: its pixdim names voxels of {zooms[2]:g} x {zooms[1]:g} x "
            f"{zooms[0]:g} (z, y, x), its sform {z:g} x {y:g} x {x:g}. The sform was taken."
        )


def _in_mm(header: NiftiHeader, matrix: np.ndarray, path: Path, notes: list[str]) -> np.ndarray:
    """The matrix in mm, whatever unit of length the header names."""
    code = header.xyzt_units & 7
    if code not in MM_PER_CODE:
        notes.append(f"{path} names an unknown unit of length (code {code}); mm was taken.")
    elif code in UNIT_NAMES:
        notes.append(f"{path} gives its lengths in {UNIT_NAMES[code]}; they were made mm.")
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    if code == 0 and not (sizes.min() >= FINEST_PLAIN_MM and sizes.max() <= COARSEST_PLAIN_MM):
        notes.append(
            f"{path} names no unit of length, and its voxels measure {sizes[2]:.4g} x "
            f"{sizes[1]:.4g} x {sizes[0]:.4g}; mm was taken."
        )
    scale = MM_PER_CODE.get(code, 1.0)
    return np.diag([scale, scale, scale, 1.0]) @ matrix
