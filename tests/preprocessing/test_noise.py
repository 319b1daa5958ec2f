"""The photon count from the differences of flat frames of a simulated, counting detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.noise import counting_noise
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from measured_scan import half_scan, lines_of, scan_of

ANGLES = half_scan(30)
PHOTONS, GREY_PER_PHOTON, ELECTRONIC_GREY = 4000.0, 2.5, 120.0


def noisy_scan(n_flats=8, n_darks=8, unsteady=0.1):
    rng = np.random.default_rng(11)
    lines = lines_of(ANGLES, rows=20)
    beam = rng.uniform(0.8, 1.2, lines.shape[1:])
    beam /= np.median(beam)

    def frames(n, photons):
        counts = rng.poisson(np.broadcast_to(photons, (n, *beam.shape)))
        return 300 + GREY_PER_PHOTON * counts + rng.normal(0, ELECTRONIC_GREY, counts.shape)

    levels = rng.uniform(1 - unsteady, 1 + unsteady, (n_flats, 1, 1))
    views = 300 + GREY_PER_PHOTON * rng.poisson(PHOTONS * beam * np.exp(-lines))
    flats = frames(n_flats, PHOTONS * beam * levels)
    return scan_of(lines, ANGLES, data=views, flats=flats, darks=frames(n_darks, 0 * beam))


def test_the_photons_and_the_electronic_noise_are_found():
    found = counting_noise(noisy_scan())
    assert found.photons == pytest.approx(PHOTONS, rel=0.12)
    assert found.electronic_counts == pytest.approx(ELECTRONIC_GREY / GREY_PER_PHOTON, rel=0.12)


def test_a_pixel_without_a_value_does_not_matter():
    scan = noisy_scan()
    flats = scan.flats.copy()
    flats[2, 1, 5] = np.nan
    found = counting_noise(replace(scan, flats=flats))
    assert found.photons == pytest.approx(counting_noise(scan).photons, rel=0.01)


def test_columns_taken_together_count_together():
    done = prepare_scan(noisy_scan(), PrepareSettings(binning=(1, 2), centre_column=31.5))
    assert done.projections.notes["photons"] == pytest.approx(2 * PHOTONS, rel=0.15)


def test_too_few_frames_or_no_noise_give_nothing():
    assert counting_noise(noisy_scan(n_flats=2)) is None
    steady = scan_of(lines_of(ANGLES), ANGLES)
    assert counting_noise(replace(steady, flats=np.repeat(steady.flats[:1], 4, axis=0))) is None
    assert "photons" not in prepare_scan(steady, PrepareSettings()).projections.notes


def test_a_given_count_comes_first():
    done = prepare_scan(noisy_scan(), PrepareSettings(photons=123.0))
    assert done.projections.notes["photons"] == 123.0
    with pytest.raises(InputError, match="positive"):
        PrepareSettings(photons=0.0)
