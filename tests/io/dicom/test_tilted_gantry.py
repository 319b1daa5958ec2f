"""A series of a tilted gantry, whose slices are shifted upright and keep their places."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_series import write_series
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series
from volume_files import SPACING, blocks, tilted

HU = blocks()
PLACES = (((4, 5, 1), 700), ((4, 5, 2), 700), ((7, 10, 4), -800), ((8, 4, 5), 40))


def write_tilted(folder, degrees, *, digits=9, shift=(0, 0, 0)):
    """The blocks with a tilted gantry; slice 3 shifted in mm. Returns index (i, j, k) to LPS."""
    sheared, rigid = tilted(degrees)

    def change(i, dataset):
        step = np.array(shift) if i == 3 else np.zeros(3)
        axes = (rigid[:3, :2] / [SPACING[2], SPACING[1]]).T.ravel()
        place = (sheared @ [0, 0, i, 1])[:3] + step
        dataset.PixelSpacing = list(SPACING[1:])
        dataset.ImageOrientationPatient = [float(round(a, 9)) for a in axes]
        dataset.ImagePositionPatient = [float(round(p, digits)) for p in place]
        dataset.GantryDetectorTilt = degrees

    write_series(folder, HU, change=change)
    return sheared


@pytest.mark.parametrize(("degrees", "digits"), [(12, 9), (-25, 9), (20, 1)])
def test_voxels_keep_their_places(tmp_path, degrees, digits):
    sheared = write_tilted(tmp_path, degrees, digits=digits)
    volume, report = read_dicom_series(tmp_path)
    assert "sheared axes" in " ".join(report.warnings) and "upright" not in str(report.warnings)
    axes = np.array(volume.grid.direction).reshape(3, 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert volume.grid.spacing_mm[0] == pytest.approx(2 * np.cos(np.radians(degrees)), abs=0.03)
    for index, hu in PLACES:
        place = (sheared @ [*index, 1])[:3]
        at = np.linalg.solve(axes * volume.grid.spacing_mm[::-1], place - volume.grid.origin_mm)
        i, j, k = np.round(at).astype(int)
        assert volume.values[k, j, i] == pytest.approx(hu, abs=1e-2), index
    assert volume.values.min() == -1000 and volume.values.max() == 700


def test_a_slice_beside_the_line_is_refused(tmp_path):
    write_tilted(tmp_path, 12, shift=(0, 1.0, 0))
    with pytest.raises(InputError, match=r"3\.dcm lies 1\.02 mm beside"):
        read_dicom_series(tmp_path)
