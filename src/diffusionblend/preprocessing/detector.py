"""Binning of the detector, before the logarithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError


def bin_detector(scan: RawScan, row_factor: int, column_factor: int) -> RawScan:
    """The scan with row_factor x column_factor pixels of its detector taken together, as their
    mean.

    Views, flats and darks alike; rows and columns left over at the end are dropped, NaN among the
    pixels is left out of their mean. Raises InputError where the detector has fewer.
    """
    if (row_factor, column_factor) == (1, 1):
        return scan
    _, n_rows, n_columns = scan.data.shape
    if not (1 <= row_factor <= n_rows and 1 <= column_factor <= n_columns):
        raise InputError(
            f"{row_factor} rows and {column_factor} columns were to be taken together, of {n_rows} "
            f"rows and {n_columns} columns.",
            "whole numbers from 1 to those of the detector",
        )

    def binned(frames: np.ndarray) -> np.ndarray:
        rows, columns = n_rows // row_factor, n_columns // column_factor
        whole = frames[:, : rows * row_factor, : columns * column_factor]
        parts = whole.reshape(len(frames), rows, row_factor, columns, column_factor)
        finite = np.isfinite(parts)
        count = finite.sum(axis=(2, 4))
        total = np.where(finite, parts, 0.0).sum(axis=(2, 4), dtype=np.float64)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def scaled(length: float | None, factor: int) -> float | None:
        return None if length is None else length * factor

    def placed(position: float | None, factor: int) -> float | None:
        return None if position is None else binned_position(position, factor)

    geometry = scan.geometry
    if geometry is not None:
        shape = n_rows // row_factor, n_columns // column_factor
        geometry = geometry.of_detector((0, 0), shape, (row_factor, column_factor))
    return replace(
        scan,
        geometry=geometry,
        photons=None if scan.photons is None else _summed(scan, row_factor, column_factor),
        data=binned(scan.data),
        flats=None if scan.flats is None else binned(scan.flats),
        darks=None if scan.darks is None else binned(scan.darks),
        column_mm=scaled(scan.column_mm, column_factor),
        row_mm=scaled(scan.row_mm, row_factor),
        centre_column=placed(scan.centre_column, column_factor),
        centre_row=placed(scan.centre_row, row_factor),
    )


def binning_notes(scan: RawScan, row_factor: int, column_factor: int) -> list[str]:
    """A sentence on rows and columns at the end that make no whole pixel, and are left out."""
    left = [
        f"{n % factor} {name}(s)"
        for n, factor, name in zip(
            scan.data.shape[1:], (row_factor, column_factor), ("row", "column"), strict=True
        )
        if n % factor
    ]
    return [f"binning leaves out the last {' and '.join(left)}"] if left else []


def _summed(scan: RawScan, row_factor: int, column_factor: int) -> np.ndarray:
    """The photons of pixels that are taken together, in as few rows as before."""
    assert scan.photons is not None
    _, n_rows, n_columns = scan.data.shape
    rows, columns = n_rows // row_factor, n_columns // column_factor
    whole = np.broadcast_to(scan.photons, scan.data.shape)
    whole = whole[:, : rows * row_factor, : columns * column_factor]
    if scan.photons.shape[1] == 1:
        rows, row_factor, whole = 1, 1, whole[:, :1] * row_factor
    parts = whole.reshape(len(whole), rows, row_factor, columns, column_factor)
    return parts.sum(axis=(2, 4), dtype=np.float64).astype(np.float32)


def binned_position(position: float, factor: int) -> float:
    """Where a place in columns lies, in columns that each hold `factor` of them."""
    return (position - (factor - 1) / 2) / factor
