from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.preprocessing.rings import reduce_rings
from measured_scan import half_scan, lines_of


def test_stripes_go_and_the_object_stays():
    lines = lines_of(half_scan(90)).astype(np.float32)
    stripes = np.zeros(64, np.float32)
    stripes[[12, 25, 48]] = 0.06, -0.05, 0.04
    reduced = reduce_rings(lines + stripes, 5)
    left = np.abs((reduced - lines).mean(axis=0))[:, [12, 25, 48]]
    assert (left < 0.5 * np.abs(stripes[[12, 25, 48]])).all()
    assert np.abs(reduce_rings(lines, 5) - lines).mean() < 0.01 * lines.max()


def test_ranks_are_smoothed_and_put_back():
    """By hand: two columns alike, the third with 10 more in every view."""
    lines = np.array([[1.0, 1, 11, 1], [3, 3, 13, 3], [2, 2, 12, 2]], np.float32)[:, None]
    expected = np.array([[1.0] * 4, [3] * 4, [2] * 4])[:, None]
    np.testing.assert_array_equal(reduce_rings(lines, 3), expected)


@pytest.mark.parametrize("width", [1, 4, 65, -3])
def test_widths_that_have_no_middle(width):
    with pytest.raises(InputError, match=f"over {width} columns"):
        reduce_rings(lines_of(half_scan(4)), width)
