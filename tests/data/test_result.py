"""What methods take and return: names, parts, and how they are shown in a line."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend import Dds, Ensemble, Execution, Grid, InputError, Reconstruction, Volume
from diffusionblend.methods import Cg
from diffusionblend.ranks import Ranks

GRID = Grid(shape=(2, 3, 4), spacing_mm=(1.0, 1.0, 1.0))


def flat(hu: float) -> Volume:
    return Volume(np.full(GRID.shape, hu), GRID)


def test_a_reconstruction_is_shown_in_one_short_line():
    shown = repr(Reconstruction(flat(40), 0.0123456789, 50, {"network": 1.0, "total": 2 / 3}))
    volume = "Volume(2, 3, 4) 1 x 1 x 1 mm, 40 to 40 HU"
    told = "relative residual 0.0123, 50 network evaluations, 0.667 s"
    assert shown == f"Reconstruction({volume}, {told})"
    assert repr(Reconstruction(flat(40), 0.5)) == f"Reconstruction({volume}, relative residual 0.5)"


def test_an_ensemble_has_the_standard_deviation_by_both_names():
    ensemble = Ensemble(flat(40), flat(3))
    assert ensemble.std is ensemble.standard_deviation


@pytest.mark.parametrize(
    "index", [..., (..., slice(1, 3)), (1, ...), (0, ..., slice(2)), (..., 0, 1), (0, 1, 2, ...)]
)
def test_an_ellipsis_stands_for_the_axes_left_out(index):
    volume = Volume(np.arange(24).reshape(GRID.shape), GRID)
    part = volume[index]
    np.testing.assert_array_equal(part.values.ravel(), volume.values[index].ravel())
    assert part.values.ndim == 3


@pytest.mark.parametrize("index", [(..., ...), (0, 0, 0, 0), ([0, 1],), (0, 0, 0, 0, ...)])
def test_other_indices_are_refused(index):
    with pytest.raises(InputError):
        flat(40)[index]


def test_an_execution_shows_what_differs_from_the_default():
    assert repr(Execution()) == "Execution()"
    execution = Execution(on_step=np.add, ranks=Ranks(1, 2), batch_blocks=4)
    assert repr(execution) == "Execution(on_step=add, ranks=Ranks(rank=1, count=2), batch_blocks=4)"


def test_a_misspelt_setting_of_a_class_is_told():
    with pytest.raises(TypeError) as caught:
        Cg(iterations=2)
    assert isinstance(caught.value, InputError)
    assert str(caught.value) == (
        "Cg has no setting 'iterations'.\n"
        "Expected: one of cg_iterations, rho, weighted, stop_at_noise\n"
        "Try: did you mean cg_iterations?"
    )
    with pytest.raises(InputError, match=r"(?s)Dds has no setting 'stps'.*did you mean steps\?"):
        Dds(stps=3)
