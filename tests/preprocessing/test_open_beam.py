"""Flats that show the sample are refused or named; weak, wide and bright objects are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.correction import to_line_integrals
from diffusionblend.preprocessing.open_beam import check_open_beam, flat_notes
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


def test_some_flats_that_show_the_sample_are_named():
    flats = np.concatenate([np.repeat(SCAN.flats, 2, axis=0), SCAN.data[:2]])
    (note,) = flat_notes(replace(SCAN, flats=flats))
    assert note.startswith("2 of 6 flat frames, the first is frame 4, differ")
    assert not flat_notes(replace(SCAN, flats=flats[:4]))


@pytest.mark.parametrize("columns", [slice(None), slice(30, None), slice(30, 60)])
@pytest.mark.parametrize("beam", [0.9, 1.0, 1.3])
def test_wide_objects_and_other_beams_are_let_pass(columns, beam):
    scan = scan_of(LINES[:, :, columns], ANGLES)
    scan = replace(scan, flats=scan.flats / beam)
    check_open_beam(to_line_integrals(scan)[0], scan)
