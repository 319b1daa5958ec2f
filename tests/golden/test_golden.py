"""Reconstructions that must not drift: a few voxels and the PSNR of every method, as once computed.

These values are no truth, they are what the package computed before. They keep a change of the
code that means to change no number from changing one. A change that means to,

    python -m pytest tests/golden --update-golden

writes values.json anew and prints the largest changes. Do so only where a number is meant to
change, in a commit of its own that says why and how much; never to make a failing test pass.

No hashes: the order of sums, and with it the last digits, differs between processors. Tolerances:
one and two threads differ by up to 0.08 HU and 0.0001 dB, and projections disturbed by 1e-6 of
themselves, ten times the rounding of float32, change a voxel by up to 0.08 HU too. So a tiny
network of random weights does not amplify rounding over these few steps. Two cases are chosen so
that they hold: CGLS stops before it has lost conjugacy, and the scan of the case that stops at
the noise has enough of it for no iteration to lie at the limit. The last
test shows that the tolerances tell every setting from the next.
"""

from __future__ import annotations

import pytest

from diffusionblend.methods import METHODS
from diffusionblend.priors.prior_types.registry import PRIOR_TYPES
from golden.cases import CASES, Golden, priors_for, run

TOLERANCE_HU = 0.5
TOLERANCE_DB = 0.005


@pytest.mark.parametrize("name", CASES)
def test_a_reconstruction_is_what_it_was(
    name: str, kept: dict[str, Golden], updated: dict[str, Golden] | None
) -> None:
    got = run(CASES[name])
    if updated is not None:
        updated[name] = got
        return
    assert got.psnr_db == pytest.approx(kept[name].psnr_db, abs=TOLERANCE_DB)
    assert got.hu == pytest.approx(kept[name].hu, abs=TOLERANCE_HU)


def test_every_case_is_kept_and_no_other(kept: dict[str, Golden], updated: object) -> None:
    if updated is not None:
        pytest.skip("the values are being written anew")
    assert set(kept) == set(CASES)


def test_every_method_and_prior_type_is_among_the_cases() -> None:
    assert {case.method for case in CASES.values()} == set(METHODS)
    used = {p.config.prior_type for case in CASES.values() for p in priors_for(case).values()}
    assert used == set(PRIOR_TYPES)


def test_settings_change_more_than_the_tolerances_allow(
    kept: dict[str, Golden], updated: object
) -> None:
    """Cases of one method and scan are distinguished by their voxels."""
    if updated is not None:
        pytest.skip("the values are being written anew")
    of_one_scan: dict[tuple[str, str], list[str]] = {}
    for name, case in CASES.items():
        of_one_scan.setdefault((case.method, case.scan), []).append(name)
    pairs = [(a, b) for names in of_one_scan.values() for a in names for b in names if a < b]
    alike = [
        {a, b}
        for a, b in pairs
        if max(abs(x - y) for x, y in zip(kept[a].hu, kept[b].hu, strict=True)) < 10 * TOLERANCE_HU
    ]
    assert alike == [{"diffusionblend++, from noise", "diffusionblend++, best"}]  # one thing
