"""What a detector would count of an analytic object, and files that hold it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from analytic import Ellipse
from diffusionblend.data.raw_scan import RawScan

ROWS = 3
OBJECT = (
    Ellipse(x_mm=4, y_mm=-3, a_mm=18, b_mm=12, turn_rad=0.4, value=0.02),
    Ellipse(x_mm=-3, y_mm=2, a_mm=4, b_mm=6, value=0.03),
)


def lines_of(
    angles_rad: np.ndarray, n_columns: int = 64, centre_column: float = 31.5, rows: int = ROWS
) -> np.ndarray:
    """Line integrals (view, row, column), columns of 1 mm, the object larger from row to row."""
    positions = np.arange(n_columns) - centre_column
    whole = sum(e.column_means(angles_rad, positions, 1.0) for e in OBJECT)
    return whole[:, None] * (0.6 + 0.2 * np.arange(rows))[:, None]


def scan_of(lines: np.ndarray, angles_rad: np.ndarray, **changes: object) -> RawScan:
    """Counts of these lines: an uneven beam of some 20 000 counts on an uneven dark level."""
    rng = np.random.default_rng(5)
    dark = rng.uniform(90, 110, lines.shape[1:])
    beam = 20_000 * rng.uniform(0.8, 1.2, lines.shape[1:])
    made = {
        "data": dark + beam * np.exp(-lines),
        "values": "counts",
        "angles_rad": angles_rad,
        "flats": np.stack([dark + 0.99 * beam, dark + 1.01 * beam]),
        "darks": np.stack([dark - 1, dark + 1]),
        "column_mm": 1.0,
    }
    return RawScan(**(made | changes))


def half_scan(n_views: int = 60) -> np.ndarray:
    """Angles over half a turn, its end left out."""
    return np.arange(n_views) * np.pi / n_views


def write_data_exchange(path: Path, scan: RawScan, **changes: object) -> Path:
    """A Data Exchange file of a scan; changes: data sets by their names, None leaves one out."""
    arrays = {
        "data": scan.data,
        "data_white": scan.flats,
        "data_dark": scan.darks,
        "theta": np.degrees(scan.angles_rad),
    }
    with h5py.File(path, "w") as file:
        for name, array in (arrays | changes).items():
            if array is not None:
                file[f"exchange/{name}"] = array
    return path


def write_tiff(path: Path, frame: np.ndarray) -> None:
    """One frame (row, column), or several pages, of uint16."""
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(np.round(frame).astype(np.uint16)), str(path))
