"""The inputs of a network for every pixel size in a run: the lengths of the grid it works on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusionblend import reconstruct
from diffusionblend.errors import InputError
from diffusionblend.methods import DiffusionBlendPP, FbpUnet, Tpdm
from diffusionblend.methods.cost import plan_reconstruction
from diffusionblend.priors import store
from diffusionblend.priors.prior import Prior
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior, ship_for_one_size

TOLD = replace(TINY, length_codes=4, refine=6)
PIXEL_MM, SLICE_MM = 2.5, 4.0


@pytest.fixture
def seen() -> list[tuple[float, ...]]:
    return []


def watched(seen: list[tuple[float, ...]], prior_type: str = "joint") -> Prior:
    """A prior for every pixel size that notes the shape of its blocks and what it was told."""
    prior = random_prior(0, replace(TOLD, prior_type=prior_type))

    def note(_: torch.nn.Module, given: tuple, named: dict) -> None:
        codes = named["class_labels"]
        assert codes.shape == (len(given[0]), 3) and (codes == codes[0]).all()
        seen.append((given[0].shape[-1], *codes[0].tolist()))

    prior.unet.register_forward_pre_hook(note, with_kwargs=True)
    return prior


def test_the_coarse_run_gets_pixels_twice_as_large(seen: list) -> None:
    projections = scan(small_volume((7, 32, 32)))
    settings = DiffusionBlendPP(steps=2, fine_steps=2, init="coarse", jump_stride=2)
    result = reconstruct(projections, settings, prior=watched(seen), device="cpu")
    assert result.network_evaluations == 4
    assert result.volume.grid == projections.grid
    coarse = [told for told in seen if told[0] == 16]
    fine = [told for told in seen if told[0] == 32]
    assert {told[2:] for told in coarse} == {(2 * PIXEL_MM, SLICE_MM)}
    assert {told[2:] for told in fine} == {(PIXEL_MM, SLICE_MM)}
    assert {told[1] for told in coarse} == {told[1] for told in fine} == {1.0, 2.0}
    assert seen == coarse + fine


def test_a_coarse_run_comes_by_itself_for_large_slices_alone(
    seen: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, module = watched(seen), "diffusionblend.methods.diffusion.diffusionblend_pp"
    for least, roles in ((32, {"prior", "coarse_prior"}), (33, {"prior"})):
        monkeypatch.setattr(f"{module}.COARSE_FROM_PIXELS", least)
        grid = small_volume((3, 32, 32)).grid
        found = DiffusionBlendPP().load_priors({"prior": prior}, grid=grid, device="cpu")
        assert set(found) == roles and all(p is prior for p in found.values())
    odd = scan(small_volume((3, 31, 32)))
    with pytest.raises(InputError, match="even numbers of pixels"):
        reconstruct(odd, prior=prior, coarse_prior=prior, device="cpu")


def test_slices_of_any_size_and_a_plan(seen: list) -> None:
    odd = scan(small_volume((4, 13, 18)))
    settings, prior = DiffusionBlendPP(steps=2), watched(seen)
    result = reconstruct(odd, settings, prior=prior, device="cpu")
    assert result.volume.values.shape == (4, 13, 18)
    assert {told[0] for told in seen} == {18} and TOLD.pixel_multiple == 2
    assert plan_reconstruction(odd, settings, {"prior": prior}).steps == 2


def test_pixels_out_of_its_range_are_refused(seen: list) -> None:
    prior = watched(seen)
    prior.pixel_range_mm = (0.1, 0.5)  # a fifth of the scan's
    with pytest.raises(InputError, match=r"for pixels of 0.5 mm.* 2.5 mm"):
        reconstruct(scan(small_volume()), prior=prior, device="cpu")
    prior.pixel_range_mm = (0.6, 2.6)  # but not twice as large
    with pytest.raises(InputError, match=r"0.6 to 2.6 mm; the grid has .* of 5 mm"):
        reconstruct(scan(small_volume()), prior=prior, coarse_prior=prior, device="cpu")
    assert not seen


def test_both_priors_of_tpdm_and_a_restorer_get_lengths(seen: list) -> None:
    projections = scan(small_volume((6, 16, 16)))
    priors = {"prior": watched(seen, "slices"), "coronal_prior": watched(seen, "coronal")}
    reconstruct(projections, Tpdm(steps=8), **priors, device="cpu")
    assert {told[2:] for told in seen} == {(PIXEL_MM, SLICE_MM)} and len(seen) >= 8
    seen.clear()
    restorer = watched(seen, "fbp-unet")
    restorer.trained = {"settings": {"views": 6, "arc_degrees": 180}}
    reconstruct(projections, FbpUnet(), prior=restorer, device="cpu")
    assert seen == [(16, 0.0, PIXEL_MM, SLICE_MM)]


def test_a_prior_named_first_is_what_every_scan_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list
) -> None:
    """What making it the default takes: its name at the front of the order."""
    prior = random_prior(0, TOLD)
    prior.pixel_range_mm = (0.6, 6.0)
    prior.save(tmp_path / "chest")
    shipped = store.shipped_priors() | {"chest": tmp_path / "chest"}
    monkeypatch.setattr(store, "shipped_priors", lambda: shipped)
    projections = scan(small_volume((3, 24, 20)))
    method = DiffusionBlendPP(steps=2)
    first_of_all = store.DEFAULT_ORDER
    ship_for_one_size(tmp_path, monkeypatch, 128)
    with pytest.raises(InputError, match="one-size is for slices of 128 x 128"):
        reconstruct(projections, method, device="cpu")
    monkeypatch.setattr(store, "DEFAULT_ORDER", first_of_all)
    for pixels in (20, 128, 256):
        grid = small_volume((3, pixels, pixels)).grid
        found = method.load_priors({}, grid=grid, device="cpu")
        assert {p.source for p in found.values()} == {"chest"}
        assert ("coarse_prior" in found) == (pixels == 256)
    assert reconstruct(projections, method, device="cpu").volume.values.shape == (3, 24, 20)


def test_every_method_takes_the_shipped_prior_of_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prior_type in ("slices", "coronal"):
        random_prior(0, replace(TOLD, prior_type=prior_type)).save(tmp_path / prior_type)
    shipped = {name: tmp_path / name for name in ("slices", "coronal")}
    monkeypatch.setattr(store, "shipped_priors", lambda: shipped)
    projections = scan(small_volume((4, 16, 16)))
    with pytest.raises(InputError, match="none was given"):
        reconstruct(projections, "dds", steps=1, device="cpu")
    monkeypatch.setattr(store, "DEFAULT_ORDER", ("coronal", "slices"))
    for method in ("dds", "tpdm"):
        assert reconstruct(projections, method, steps=1, device="cpu").network_evaluations == 1
    with pytest.raises(InputError, match="prior of the type 'conditional', and none was given"):
        reconstruct(projections, "diffusionblend", steps=1, device="cpu")
