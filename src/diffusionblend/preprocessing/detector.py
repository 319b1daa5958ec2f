"""Binning of the detector, before the logarithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError


def bin_detector(scan: RawScan, row_factor: int, bin_factor: int) -> RawScan:
    """The scan with row_factor x bin_factor pixels of its detector taken together, as their mean.

    Views, flats and darks alike; rows and bins left over at the end are dropped, NaN among the
    pixels is left out of their mean. Raises InputError where the detector has fewer.
    """
    if (row_factor, bin_factor) == (1, 1):
        return scan
    _, n_rows, n_bins = scan.data.shape
    if not (1 <= row_factor <= n_rows and 1 <= bin_factor <= n_bins):
        raise InputError(
            f"{row_factor} rows and {bin_factor} bins were to be taken together, of {n_rows} rows "
            f"and {n_bins} bins.",
            "whole numbers from 1 to those of the detector",
        )

    def binned(frames: np.ndarray | None) -> np.ndarray | None:
        if frames is None:
            return None
        rows, bins = n_rows // row_factor, n_bins // bin_factor
        whole = frames[:, : rows * row_factor, : bins * bin_factor]
        parts = whole.reshape(len(frames), rows, row_factor, bins, bin_factor)
        finite = np.isfinite(parts)
        count = finite.sum(axis=(2, 4))
        total = np.where(finite, parts, 0.0).sum(axis=(2, 4), dtype=np.float64)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def scaled(length: float | None, factor: int) -> float | None:
        return None if length is None else length * factor

    centre = scan.centre_bin
    return replace(
        scan,
        data=binned(scan.data),
        flats=binned(scan.flats),
        darks=binned(scan.darks),
        bin_mm=scaled(scan.bin_mm, bin_factor),
        row_mm=scaled(scan.row_mm, row_factor),
        centre_bin=None if centre is None else binned_position(centre, bin_factor),
    )


def binned_position(position: float, factor: int) -> float:
    """Where a place in bins lies, in bins that each hold `factor` of them."""
    return (position - (factor - 1) / 2) / factor
