"""Flats that show the sample are refused or named; weak, wide and bright objects are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.correction import to_line_integrals
from diffusionblend.preprocessing.open_beam import check_open_beam, without_odd_flats
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from field_scans import HALF, parallel_lines
from measured_scan import scan_of

ANGLES = HALF[::3]
BESIDE = ((15, 10, 20, 0.02), (-20, -5, 8, 0.03))
LINES = parallel_lines(ANGLES, 96, 47.2, discs=BESIDE)
SCAN = scan_of(LINES, ANGLES)


def test_flats_that_all_show_the_sample_are_refused():
    flats = np.repeat(SCAN.data[:1], 3, axis=0)
    with pytest.raises(InputError, match=r"(?s)flats seem to show the sample.*centre_column"):
        prepare_scan(replace(SCAN, flats=flats))
    done = prepare_scan(replace(SCAN, flats=flats), PrepareSettings(centre_column=47.2))
    assert "flats seem to show the sample" in " ".join(done.correction.notes)


def test_flats_that_show_the_sample_are_left_out_of_the_mean():
    """Two of six: the integrals are the analytic ones, and the photons those of the others."""
    rng = np.random.default_rng(2)
    thin = scan_of(LINES / 2, ANGLES)
    several = rng.poisson(np.repeat(thin.flats.mean(axis=0)[None], 4, axis=0)).astype(np.float32)
    sound = replace(thin, flats=several)
    mixed = replace(thin, flats=np.concatenate([several[:1], thin.data[:2], several[1:]]))
    done, expected = prepare_scan(mixed), prepare_scan(sound)
    np.testing.assert_array_equal(done.projections.values, expected.projections.values)
    assert np.abs(done.projections.values - LINES / 2).max() < 0.02
    assert np.abs(to_line_integrals(mixed)[0] - LINES / 2).max() > 0.1
    assert done.projections.notes["photons"] == expected.projections.notes["photons"]
    (note,) = (n for n in done.correction.notes if "flat" in n)
    assert note.startswith("2 of 6 flat frames, the first is frame 1, left out")
    assert not any("flat" in n for n in expected.correction.notes)


def test_flats_of_a_beam_that_moved_and_half_of_all_flats_stay_in():
    columns = np.linspace(-1, 1, SCAN.data.shape[2])
    beam = 1e4 * np.exp(-((columns[None] - np.array([[0], [0], [0], [0.3]])) ** 2))
    flats = np.repeat(beam[:, None], SCAN.data.shape[1], axis=1) + SCAN.darks.mean(axis=0)
    kept, (note,) = without_odd_flats(replace(SCAN, flats=flats))
    assert note.startswith("1 of 4 flat frames, the first is frame 3, differ")
    assert len(kept.flats) == 4
    flats = np.concatenate([SCAN.flats, SCAN.data[:2]])
    kept, (note,) = without_odd_flats(replace(SCAN, flats=flats))
    assert "left out" not in note and len(kept.flats) == 4


@pytest.mark.parametrize("columns", [slice(None), slice(30, None), slice(30, 60)])
@pytest.mark.parametrize("beam", [0.9, 1.0, 1.3])
def test_wide_objects_and_other_beams_are_let_pass(columns, beam):
    scan = scan_of(LINES[:, :, columns], ANGLES)
    scan = replace(scan, flats=scan.flats / beam)
    check_open_beam(to_line_integrals(scan)[0], scan)
