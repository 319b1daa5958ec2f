"""Small NIfTI and NRRD files written field by field, with whatever oddity a test needs."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

SPACING = (2.0, 1.5, 1.5)
ORIGIN = (-30.0, -36.0, 100.0)
TYPES = {"i2": (4, 16), "f4": (16, 32), "u2": (512, 16), "c8": (32, 64), "u1": (2, 8)}


def blocks(n_slices: int = 6) -> np.ndarray:
    """HU (z, y, x): soft tissue in air, with bone low-front-right and lung high-back-left."""
    hu = np.full((n_slices, 16, 12), -1000.0)
    hu[:, 2:14, 2:10] = 40
    hu[1:3, 4:7, 3:6] = 700
    hu[-3:-1, 9:12, 6:9] = -800
    return hu


def lps_matrix(spacing=SPACING, origin=ORIGIN) -> np.ndarray:
    """4 x 4 from the index (i, j, k) to LPS mm, upright."""
    matrix = np.diag([*spacing[::-1], 1.0])
    matrix[:3, 3] = origin
    return matrix


def ras(matrix_lps: np.ndarray) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix_lps


def tilted(degrees: float, spacing=SPACING) -> tuple[np.ndarray, np.ndarray]:
    """LPS matrices of a series with a tilted gantry: as it lies (sheared), and its rigid form."""
    angle = np.radians(degrees)
    rigid = lps_matrix(spacing)
    rigid[:3, 1] = spacing[1] * np.array([0, np.cos(angle), -np.sin(angle)])
    rigid[:3, 2] = spacing[0] * np.array([0, np.sin(angle), np.cos(angle)])
    sheared = rigid.copy()
    sheared[:3, 2] = (0, 0, spacing[0])
    return sheared, rigid


def nifti_bytes(
    zyx: np.ndarray,
    *,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    order: str = "<",
    **fields: object,
) -> bytes:
    """NIfTI-1 with these fields; sform and qform are 4 x 4 to RAS, codes those of (s, q)."""
    code, bits = TYPES[zyx.dtype.str[1:]]
    basis = qform if qform is not None else sform
    zooms = (1, 1, 1) if basis is None else np.linalg.norm(basis[:3, :3], axis=0)
    qfac, quaternion, offset = 1.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    if qform is not None:
        qfac, quaternion = quaternion_of(qform[:3, :3] / zooms)
        offset = tuple(qform[:3, 3])
    dims = zyx.shape[::-1]
    written = {
        "dim": (len(dims), *dims, *[1] * (7 - len(dims))),
        "datatype": code,
        "bitpix": bits,
        "pixdim": (qfac, *zooms, 0, 0, 0, 0),
        "vox_offset": 352,
        "slope": 1,
        "inter": 0,
        "units": 2,
        "qcode": codes[1] if qform is not None else 0,
        "scode": codes[0] if sform is not None else 0,
        "quaternion": quaternion,
        "qoffset": offset,
        "srow": (0.0,) * 12 if sform is None else sform[:3].ravel(),
        "magic": b"n+1\0",
    } | fields
    places = {
        "dim": (40, "8h"),
        "datatype": (70, "h"),
        "bitpix": (72, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "slope": (112, "f"),
        "inter": (116, "f"),
        "units": (123, "B"),
        "qcode": (252, "h"),
        "scode": (254, "h"),
        "quaternion": (256, "3f"),
        "qoffset": (268, "3f"),
        "srow": (280, "12f"),
        "magic": (344, "4s"),
    }
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    for name, (place, kind) in places.items():
        value = written[name]
        many = isinstance(value, tuple | list | np.ndarray)
        struct.pack_into(order + kind, header, place, *(value if many else [value]))
    return bytes(header) + zyx.astype(zyx.dtype.newbyteorder(order)).tobytes()


def nifti_2_bytes(zyx: np.ndarray, sform: np.ndarray, order: str = "<") -> bytes:
    """NIfTI-2 with a sform to RAS."""
    code, bits = TYPES[zyx.dtype.str[1:]]
    header = bytearray(544)
    for place, kind, values in (
        (0, "i", [540]),
        (4, "8s", [b"n+2\0\r\n\x1a\n"]),
        (12, "2h", [code, bits]),
        (16, "8q", [3, *zyx.shape[::-1], 1, 1, 1, 1]),
        (104, "8d", [1, *np.linalg.norm(sform[:3, :3], axis=0), 0, 0, 0, 0]),
        (168, "q", [544]),
        (176, "2d", [1, 0]),
        (344, "2i", [0, 1]),
        (400, "12d", sform[:3].ravel()),
        (500, "i", [2]),
    ):
        struct.pack_into(order + kind, header, place, *values)
    return bytes(header) + zyx.astype(zyx.dtype.newbyteorder(order)).tobytes()


def quaternion_of(rotation: np.ndarray) -> tuple[float, tuple[float, float, float]]:
    """qfac, and b, c, d of a rotation, with a flip of its third axis where it is improper."""
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    r = rotation * [1, 1, qfac]
    a = np.sqrt(max(0.0, 1 + np.trace(r))) / 2
    if a > 1e-6:
        pairs = (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
        return qfac, tuple(p / 4 / a for p in pairs)
    b, c, d = (np.sqrt(max(0.0, 1 + 2 * r[k, k] - np.trace(r))) / 2 for k in range(3))
    return qfac, (b, np.copysign(c, r[0, 1] + r[1, 0]), np.copysign(d, r[0, 2] + r[2, 0]))


def write(path: Path, data: bytes) -> Path:
    """Write bytes, packed where the name ends in .gz."""
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def nrrd_bytes(
    zyx: np.ndarray, *extra: str, leave_out: tuple[str, ...] = (), **fields: str
) -> bytes:
    """NRRD of int16 with these fields, by their names with _ for a blank; others are left out."""
    written = {
        "type": "short",
        "dimension": str(zyx.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, zyx.shape[::-1])),
        "space directions": "(1.5,0,0) (0,1.5,0) (0,0,2)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(-30,-36,100)",
    } | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [f"{n}: {v}" for n, v in written.items() if n not in leave_out]
    order = ">" if written["endian"] == "big" else "<"
    return (
        "\n".join(["NRRD0004", *lines, *extra, "", ""]).encode()
        + zyx.astype(f"{order}i2").tobytes()
    )
