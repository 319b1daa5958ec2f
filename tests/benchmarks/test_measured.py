"""The score of the discs, and the parts of the benchmark of measured scans."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from htc2022 import EVERY_VIEW, Discs, cut_to_arc, matthews
from measured import fbp_beside
from measured_scan import half_scan, lines_of, scan_of
from pictures import image_rows_figure


def test_matthews_correlation_is_that_of_the_pixels():
    rng = np.random.default_rng(0)
    truth = rng.random((40, 50)) < 0.4
    found = truth ^ (rng.random(truth.shape) < 0.2)
    expected = np.corrcoef(found.ravel(), truth.ravel())[0, 1]
    assert matthews(found, truth) == pytest.approx(expected)
    assert matthews(truth, truth) == 1 and matthews(~truth, truth) == -1
    assert matthews(np.ones_like(truth), truth) == 0


def test_an_arc_is_cut_from_the_first_angle_on():
    angles = np.radians(np.arange(20, 380, 0.5))
    scan = scan_of(lines_of(angles, n_columns=10), angles)
    cut = cut_to_arc(scan, 60)
    degrees = np.degrees(cut.angles_rad)
    np.testing.assert_allclose(degrees, np.arange(20, 80.1, 0.5 * EVERY_VIEW))
    np.testing.assert_array_equal(cut.data, scan.data[:121:EVERY_VIEW])


def test_fbp_beside_the_axis_is_that_of_a_shifted_detector():
    angles = half_scan(90)
    lines = lines_of(angles, centre_column=33.5)
    geometry = ParallelBeam(
        angles_rad=angles, n_columns=64, column_mm=1.0
    )  # takes it to be at 31.5
    grid = Grid(shape=(3, 50, 50), spacing_mm=(1, 1, 1))
    scan = Projections(lines, geometry, grid, 0.02)
    slopes = [
        (np.hypot(*np.gradient(fbp_beside(scan, o, slice(1, 3)), axis=(1, 2))) ** 4).mean()
        for o in (0.0, 1.0, 2.0, 3.0)
    ]
    assert int(np.argmax(slopes)) == 2


def test_pictures_stand_in_rows():
    figure = image_rows_figure({"a": [np.eye(3)], "b": [np.eye(3)] * 2}, (0, 1), "mm")
    assert sum(len(axes.images) for axes in figure.axes) == 3


def test_the_discs_tune_on_training_objects_only(shared_data, tmp_path, monkeypatch):
    """No file of a disc that is scored is opened while weight and threshold are chosen."""
    import htc2022

    opened = []

    class Watched(Discs):
        def _file(self, name):
            opened.append(name)
            return super()._file(name)

    monkeypatch.setattr(htc2022, "METHODS", ("fbp",))
    monkeypatch.setattr(htc2022, "ARCS_DEGREES", {"07c": 30})
    discs = Watched(folder=shared_data / "projections" / "htc2022", tuned_file=tmp_path / "t.json")
    assert 0 < discs.tuned["30"]["fbp"]["training_matthews_by_weight"]["None"] < 1
    assert {name.split("_")[0] for name in opened} == {"ta", "tb", "tc", "td"}
    again = Watched(folder=discs.folder, tuned_file=discs.tuned_file)
    opened.clear()
    assert again.tuned == discs.tuned and not opened
