"""A small scan as each scanner writes it, for damage; the makers write into an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ct_pd_files import Scanner, write_scan

VIEWS = 3


class Lump:
    """An object whose line integrals are a smooth lump over the detector."""

    def line_integrals(self, points_mm: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """By the rays' directions alone, of the shape of the rays."""
        return np.exp(-((directions[..., 0] / 20) ** 2))


def write_ct_pd(home: Path) -> Path:
    """A folder of views as DICOM-CT-PD."""
    scanner = Scanner(views=VIEWS, n_rows=4, n_columns=12, photons=np.full(12, 1e4))
    return write_scan(home / "views", scanner, Lump(), implicit=True)


SCANNERS: dict[str, Callable[[Path], Path]] = {"ct-pd": write_ct_pd}
