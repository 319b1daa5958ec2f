"""What Python shows and takes: short reprs, tables, arrays, names in place of steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import diffusionblend as db
from diffusionblend.methods import Cg, Prox
from small_scan import scan, small_volume
from tiny_network import random_prior

VOLUME = small_volume((8, 16, 16))
SCAN = scan(VOLUME)


def test_projections_are_an_array_and_have_a_shape():
    assert SCAN.shape == SCAN.values.shape == np.asarray(SCAN).shape
    assert np.asarray(SCAN) is SCAN.values
    assert np.asarray(SCAN, dtype=np.float64).dtype == np.float64
    copied = np.array(SCAN, copy=True)
    copied[:] = 0
    assert SCAN.values.any()
    with pytest.raises(ValueError, match="copy"):
        SCAN.__array__(np.float64, copy=False)


def test_reprs_are_a_line_that_says_what_it_is():
    result = db.reconstruct(SCAN, "fbp", device="cpu")
    evaluation = db.evaluate(result.volume, VOLUME)
    said = {
        repr(db.load_prior("chest")): ("Prior(chest)", "joint", "any"),
        repr(random_prior()): ("made in memory",),
        repr(evaluation): (f"{evaluation.volume_psnr_db:.2f} dB", "HU"),
        repr(SCAN): ("ParallelBeam",),
    }
    for text, words in said.items():
        assert len(text) < 200 and "\n" not in text
        assert all(word in text for word in words), text


def test_notebooks_get_tables():
    evaluation = db.evaluate(VOLUME.with_values(VOLUME.values + 20), VOLUME)
    table = evaluation._repr_html_()
    assert table.count("<tr>") == 5 and f"{evaluation.planes['coronal'].psnr_db:.2f}" in table
    shown = SCAN._repr_html_()
    assert "6 x 8 x 23" in shown and 'src="data:image/png;base64,iVBOR' in shown


def test_an_operator_is_divided_by_a_number():
    A = db.XRayTransform(SCAN.geometry, SCAN.grid)
    x = torch.from_numpy(VOLUME.values)
    torch.testing.assert_close((A / 4) @ x, (A @ x) / 4)
    with pytest.raises(TypeError):
        A / A


def test_a_data_consistency_step_is_given_by_its_name_its_class_or_itself():
    by_name = db.DiffusionBlendPP(consistency="prox")
    assert (
        by_name == db.DiffusionBlendPP(consistency=Prox()) == db.DiffusionBlendPP(consistency=Prox)
    )
    assert db.DiffusionBlendPP(consistency="cg").consistency == Cg()
    # the method's own settings of its own step are kept
    assert db.Dds(consistency=db.Dds().consistency.name) == db.Dds()
    with pytest.raises(db.InputError, match="no data-consistency step 'proxy'"):
        db.DiffusionBlendPP(consistency="proxy")
    with pytest.raises(db.InputError, match="consistency is 3"):
        db.DiffusionBlendPP(consistency=3)


def test_a_class_in_place_of_a_method_is_to_be_made():
    with pytest.raises(db.InputError, match="the class Fbp") as raised:
        db.reconstruct(SCAN, db.Fbp)
    assert raised.value.try_ == "Fbp()"
    with pytest.raises(db.InputError, match="The method is of the class int"):
        db.reconstruct(SCAN, 3)
