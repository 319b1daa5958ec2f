"""bfloat16 where the hardware has it, float32 where it would be emulated."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.precision import _is_intel, has_bfloat16, precision_used, runs_bfloat16
from diffusionblend.priors.prior import load_prior
from tiny_network import random_prior


@pytest.mark.parametrize(
    ("amx", "avx512", "intel", "has_it"),
    [
        (False, False, True, False),
        (False, False, False, False),
        (True, False, True, True),
        (True, True, True, True),
        (False, True, False, True),
        (False, True, True, False),  # has it, and takes 1.6 times as long as in float32
    ],
)
def test_auto_asks_the_processor(monkeypatch, amx, avx512, intel, has_it):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr("diffusionblend.priors.precision._is_intel", lambda: intel)
    assert has_bfloat16("cpu") == has_it
    assert runs_bfloat16("auto", "cpu") == has_it


@pytest.mark.parametrize("told_by", ["file", "platform"])
@pytest.mark.parametrize(("vendor", "intel"), [("GenuineIntel", True), ("AuthenticAMD", False)])
def test_who_made_the_processor_is_read_from_the_system(
    monkeypatch, tmp_path, told_by, vendor, intel
):
    info = tmp_path / "cpuinfo"
    if told_by == "file":
        info.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: 6\n")
    monkeypatch.setattr("diffusionblend.priors.precision.CPU_INFO", info)
    monkeypatch.setattr("platform.processor", lambda: f"x Family 6, {vendor}")
    assert _is_intel.__wrapped__() is intel


@pytest.mark.parametrize(("precision", "expected"), [("float32", False), ("bfloat16", True)])
def test_what_is_asked_for_is_taken(precision, expected):
    assert runs_bfloat16(precision, "cpu") is expected
    assert precision_used(precision, "cpu") == precision


@pytest.mark.parametrize("has_it", [False, True])
def test_auto_never_means_int8(monkeypatch, has_it):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_it)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_it)
    assert precision_used("auto", "cpu") == ("bfloat16" if has_it else "float32")
    assert precision_used("int8", "cpu") == "int8" and not runs_bfloat16("int8", "cpu")


@pytest.mark.parametrize("has_it", [False, True])
def test_a_prior_computes_in_what_the_processor_has(monkeypatch, has_it):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_it)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_it)
    prior = random_prior()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = {}
    for precision in ("auto", "float32", "bfloat16"):
        prior.precision = precision
        found[precision] = prior.denoise(x, 500, 1.0)[0]
    same, other = ("bfloat16", "float32") if has_it else ("float32", "bfloat16")
    assert torch.equal(found["auto"], found[same])
    assert not torch.equal(found["auto"], found[other])


def test_the_precision_of_a_loaded_prior_is_one_of_those_there_are(tmp_path):
    random_prior().save(tmp_path)
    assert load_prior(tmp_path).precision == "auto"
    assert load_prior(tmp_path, precision="bfloat16").precision == "bfloat16"
    with pytest.raises(InputError, match="precision is 'half'") as refused:
        load_prior(tmp_path, precision="half")
    assert "float32" in str(refused.value)
