"""Invalid values, replaced by their neighbours."""

from __future__ import annotations

import numpy as np


def fill_from_neighbours(lines: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Line integrals (view, row, column) with the bad ones, of the same shape, replaced.

    Straight lines along the columns between the nearest good neighbours; beyond the last good
    column its value. A row without any takes the nearest good row of its view. Every view has a
    good value.
    """
    filled = lines.copy()
    columns = np.arange(lines.shape[2])
    for view, row in np.argwhere(bad.any(axis=2)):
        good = ~bad[view, row]
        if good.any():
            filled[view, row, ~good] = np.interp(
                columns[~good], columns[good], lines[view, row, good].astype(np.float64)
            )
    for view, row in np.argwhere(bad.all(axis=2)):
        whole = np.flatnonzero(~bad[view].all(axis=1))
        filled[view, row] = filled[view, whole[np.abs(whole - row).argmin()]]
    return filled
