"""A grey picture as PNG bytes, with nothing but the standard library (W3C PNG, 3rd edition)."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def grey_png(values: np.ndarray, low: float, high: float) -> bytes:
    """An image (row, column) as 8-bit grey: black up to `low`, white from `high` on."""
    grey = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    pixels = np.round(255 * grey).astype(np.uint8)
    n_rows, n_columns = pixels.shape
    rows = np.zeros((n_rows, n_columns + 1), np.uint8)  # each begins with its filter, 0: none
    rows[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", n_columns, n_rows, 8, 0, 0, 0, 0)
    body = zlib.compress(rows.tobytes())
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
