"""The colours of a standard deviation: clear at 0, ordered, and one limit for several volumes."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.report.colours import (
    COLOURS,
    SOLID_SHARE,
    deviation_limit_hu,
    on_black,
    overlay_rgba,
)


def test_colours_begin_clear_and_end_with_the_last() -> None:
    rgba = overlay_rgba(np.array([0.0, 25.0, 50.0, 100.0, 1e6]), 100.0)
    np.testing.assert_allclose(rgba[:, 3], [0, 0.25 / SOLID_SHARE, 1, 1, 1])
    np.testing.assert_allclose(255 * rgba[1, :3], COLOURS[1])
    np.testing.assert_allclose(255 * rgba[2, :3], COLOURS[2])
    for end in rgba[3:]:
        np.testing.assert_allclose(255 * end[:3], COLOURS[-1])
    np.testing.assert_allclose(on_black(rgba)[0], 0)
    np.testing.assert_allclose(on_black(rgba)[1], rgba[1, :3] * 0.5)


@pytest.mark.parametrize(
    ("highest", "limit"), [(0, 1), (0.4, 1), (1.7, 2), (40, 50), (50, 50), (101, 200), (600, 1000)]
)
def test_the_limit_is_the_next_round_number(highest: float, limit: float) -> None:
    assert deviation_limit_hu([np.full(10, highest), np.zeros(4)]) == pytest.approx(limit)


def test_single_voxels_do_not_set_the_limit() -> None:
    values = np.full(10_000, 30.0)
    values[:20] = 5000.0
    assert deviation_limit_hu([values]) == pytest.approx(30.0)
    assert deviation_limit_hu([]) == 1.0
