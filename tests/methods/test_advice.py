"""What is advised for a scan follows from its views, arc, object and size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.geometry import FanBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.advice import advise, covered_degrees, seems_a_patient
from diffusionblend.methods.api import make_method

MEASURED = {"source": "measured"}


def scan_of(
    views: int = 8, arc: float = 180.0, across: int = 64, mm: float = 5.0, slices: int = 3, **notes
) -> Projections:
    """A scan whose numbers do not matter."""
    grid = Grid(shape=(slices, across, across), spacing_mm=(2.0, mm, mm))
    geometry = ParallelBeam.fitting(grid, views, arc_degrees=arc)
    shape = (views, geometry.detector_rows(grid), geometry.n_columns)
    return Projections(np.ones(shape), geometry, grid, 0.02, {"source": "simulated"} | notes)


def first(scan: Projections, **options) -> tuple[str, dict, str]:
    best = advise(scan, **options)[0]
    return best.method, dict(best.settings), best.unit


def test_few_views_of_a_patient_take_the_prior():
    assert first(scan_of()) == ("diffusionblend++", {}, "HU")
    assert first(scan_of(views=90, arc=90)) == ("diffusionblend++", {"preset": "best"}, "HU")
    many = scan_of(across=128, mm=2.0, slices=1300, views=2)
    assert first(many)[1] == {"preset": "fast"}
    assert first(many, on_gpu=True)[1] == {}


def test_an_object_is_written_in_attenuation_by_a_method_without_a_prior():
    assert first(scan_of(**MEASURED)) == ("admm-tv", {}, "1/mm")
    assert first(scan_of(mm=0.1)) == ("admm-tv", {}, "1/mm")  # 6 mm wide: no patient
    assert first(scan_of(**MEASURED), patient=True) == ("diffusionblend++", {}, "HU")
    assert first(scan_of(), patient=False) == ("admm-tv", {}, "1/mm")


def test_many_views_take_fbp():
    assert first(scan_of(views=32))[0] == "fbp"
    assert first(scan_of(views=31))[0] == "diffusionblend++"
    assert first(scan_of(views=16, **MEASURED))[0] == "fbp"
    assert first(scan_of(views=15, **MEASURED))[0] == "admm-tv"
    assert first(scan_of(views=64, arc=120))[0] == "diffusionblend++"


def test_what_is_advised_can_be_made_and_given_to_the_command_line():
    from diffusionblend.cli.parse import parsed_command

    for scan in (scan_of(), scan_of(views=90, arc=90), scan_of(**MEASURED), scan_of(photons=5e3)):
        for one in advise(scan):
            made = make_method(one.method, **one.settings)
            line = ["scan.h5", "-o", "a.nii.gz", *one.options()]
            command = parsed_command("reconstruct", line)
            assert command.method == made
            assert command.output_unit == ("hu" if one.unit == "HU" else "1/mm")


def test_few_photons_are_reported():
    assert "larger --weight" in advise(scan_of(photons=5e3))[1].why
    assert "larger --weight" not in advise(scan_of(photons=1e6))[1].why


@pytest.mark.parametrize(
    ("degrees", "covered"),
    [
        (np.arange(0, 180, 22.5), 180.0),
        (np.arange(0, 90, 1.0), 90.0),
        (np.arange(45, 135, 1.0), 90.0),
        (np.arange(-45, 45, 1.0), 90.0),  # across 0
        (np.arange(0, 360, 1.0), 180.0),  # opposite views are the same rays
        (np.arange(180) * 137.50776 % 180, 180.0),  # golden angles
        (np.r_[0:30:0.25, 30:180:2.5], 180.0),  # denser in one part
        ([0.0], 0.0),
        ([0.0, 180.0], 0.0),
    ],
)
def test_the_arc_of_a_parallel_beam(degrees, covered):
    beam = ParallelBeam(angles_rad=tuple(np.radians(degrees)), n_columns=9, column_mm=1.0)
    assert covered_degrees(beam) == pytest.approx(covered, abs=0.01)


def test_the_arc_of_a_fan_is_of_a_whole_turn():
    grid = Grid(shape=(1, 16, 16), spacing_mm=(1.0, 2.0, 2.0))
    assert covered_degrees(FanBeam.fitting(grid, 36)) == pytest.approx(360)
    assert covered_degrees(FanBeam.fitting(grid, 36, arc_degrees=90)) == pytest.approx(90)


def test_a_geometry_without_angles_counts_as_whole():
    grid = Grid(shape=(4, 16, 16), spacing_mm=(1.0, 2.0, 2.0))
    from diffusionblend.geometry import ConeBeam

    vectors = ConeBeam.fitting(grid, 9).to_vectors()
    assert covered_degrees(vectors) == 360.0


def test_only_what_is_as_wide_as_a_patient_seems_one():
    assert seems_a_patient(scan_of())
    assert not seems_a_patient(scan_of(mm=50.0))
    assert not seems_a_patient(replace(scan_of(), notes={}))
