"""Sinograms that were read as views are refused; views are not, whatever their object."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.preprocessing.sinogram_order import check_no_sinograms
from field_scans import parallel_lines

BIG = (0, 0, 26, 0.005)


def rows_of(angles, n_rows, balls=((10, -5, 8, 6),), big=BIG, n_columns=64, mu=0.03):
    """Lines (view, row, column) of balls (x, y, row, radius), in a cylinder or in air."""
    rows = []
    for k in range(n_rows):
        radii = [(x, y, r**2 - (k - row) ** 2) for x, y, row, r in balls]
        discs = [(x, y, s**0.5, mu) for x, y, s in radii if s > 0]
        discs += [] if big is None else [big]
        rows.append(parallel_lines(angles, n_columns, 31.5, 1, discs)[:, 0])
    return np.stack(rows, axis=1)


def turn(n_views, arc=np.pi):
    return np.arange(n_views) * arc / n_views


@pytest.mark.parametrize("arc", [np.pi, 2 * np.pi])
@pytest.mark.parametrize("big", [BIG, None])
@pytest.mark.parametrize("n_rows", [9, 16])
def test_sinograms_read_as_views_are_refused(arc, big, n_rows):
    lines = rows_of(turn(60, arc), n_rows, ((10, -5, 3, 4), (-8, 9, 6, 3)), big).swapaxes(0, 1)
    check_no_sinograms(lines.swapaxes(0, 1), turn(60, arc))
    with pytest.raises(InputError, match=r"(?s)sinograms of 60 views.*sinograms"):
        check_no_sinograms(lines, turn(n_rows, arc))


def test_as_a_scan_and_where_the_axis_is_stated():
    angles = turn(60)
    lines = rows_of(angles, 16).swapaxes(0, 1)
    scan = RawScan(data=lines, values="lines", angles_rad=turn(16), column_mm=1.0)
    with pytest.raises(InputError, match="sinograms of 60 views"):
        prepare_scan(scan)
    notes = prepare_scan(scan, PrepareSettings(centre_column=31.5)).correction.notes
    assert any("sinograms of 60 views" in note for note in notes)


def test_views_of_a_leaning_rod_of_a_weaker_beam_and_of_a_cut_object_are_views():
    angles = turn(60)
    rod = np.stack([rows_of(angles, 1, ((r / 4, r / 6, 0, 5),), None)[:, 0] for r in range(16)], 1)
    faded = rod + np.linspace(0, 0.02, 60)[:, None, None]
    for lines in (rod, faded, rod[:, :, 26:], rows_of(angles, 16)[:, :, 20:]):
        check_no_sinograms(lines.astype(np.float32), angles)
