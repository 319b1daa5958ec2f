"""Rings: detector columns that are always too bright or too dark, seen as stripes in sinograms."""

from __future__ import annotations

import numpy as np

from diffusionblend.errors import InputError


def reduce_rings(lines: np.ndarray, width: int) -> np.ndarray:
    """Line integrals (view, row, column) without stripes up to about half of `width` columns wide.

    Algorithm 3 of Vo, Atwood, Drakopoulos (Optics Express 26, 2018): each column's values are
    sorted over the views, a median over `width` columns is taken of every rank, and the values go
    back to their views. A column's own response falls out, since neighbours share their
    distribution and not their stripe. It smooths small features a little. Raises InputError unless
    `width` is odd and above 1.
    """
    from scipy.ndimage import median_filter

    if width < 3 or width % 2 == 0 or width > lines.shape[2]:
        raise InputError(
            f"Rings are to be reduced over {width} columns, of {lines.shape[2]}.",
            "an odd number from 3 to that of the columns",
            "9, or more for wider rings",
        )
    reduced = np.empty_like(lines)
    for row in range(lines.shape[1]):
        order = np.argsort(lines[:, row], axis=0, kind="stable")
        ranked = np.take_along_axis(lines[:, row], order, axis=0)
        smooth = median_filter(ranked, size=(1, width), mode="reflect")
        np.put_along_axis(reduced[:, row], order, smooth, axis=0)
    return reduced
