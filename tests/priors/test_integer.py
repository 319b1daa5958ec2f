"""A network in int8: refused without its engine, near float32 with it, its graph kept and keyed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.priors import integer_engine
from diffusionblend.priors.integer import check_integer, graph_path, has_graph, integer_network
from diffusionblend.priors.prior import load_prior
from tiny_network import TINY, random_prior

GRAPH = (b"<xml/>", b"weights")
needs_engine = pytest.mark.skipif(
    bool(integer_engine.missing()), reason="needs pip install 'diffusionblend[openvino]'"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DIFFUSIONBLEND_CACHE", str(folder))
    return folder


@pytest.fixture
def made(monkeypatch):
    """The graphs that are made, by an engine that only counts them."""
    networks = []

    def graph(unet, unshuffle, samples):
        networks.append(unet)
        return GRAPH

    monkeypatch.setattr(integer_engine, "missing", list)
    monkeypatch.setattr(integer_engine, "versions", lambda: {"engine": "1"})
    monkeypatch.setattr(integer_engine, "integer_graph", graph)
    return networks


def blocks(n=5, size=16):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_without_the_engine_it_is_refused_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(integer_engine, "missing", lambda: ["nncf"])
    random_prior().save(tmp_path)
    with pytest.raises(InputError, match="nncf cannot be imported") as refused:
        load_prior(tmp_path, precision="int8")
    assert "pip install 'diffusionblend[openvino]'" in str(refused.value)


def test_it_is_refused_where_it_cannot_be(made):
    with pytest.raises(InputError, match="int8' on cuda:0"):
        check_integer(TINY, "cuda:0")
    restorer = random_prior(config=replace(TINY, prior_type="fbp-unet"))
    with pytest.raises(InputError, match="of the type 'fbp-unet'"):
        restorer.use_precision("int8")
    assert restorer.precision == "float32" and not made


def test_a_graph_is_made_once_and_kept_for_other_objects_of_the_same_weights(made, cache):
    told = []
    random_prior().use_precision("int8", told.append)
    assert len(made) == len(told) == 1 and "making the int8 network" in told[0]
    random_prior().use_precision("int8", told.append)
    assert len(made) == len(told) == 1
    assert len(list(cache.iterdir())) == 1


def test_other_weights_have_another_graph(made, cache):
    for seed in (0, 1):
        random_prior(seed).use_precision("int8")
    assert len(made) == 2 and len(list(cache.iterdir())) == 2


def test_another_version_of_the_engine_makes_it_again_and_says_so(made, monkeypatch):
    random_prior().use_precision("int8")
    monkeypatch.setattr(integer_engine, "versions", lambda: {"engine": "2"})
    prior = random_prior()
    assert not has_graph(prior.unet, prior.config)
    with pytest.warns(UserWarning, match="another engine; the int8 network is made again"):
        prior.use_precision("int8")
    assert len(made) == 2 and has_graph(prior.unet, prior.config)


def test_a_damaged_graph_is_made_again_and_reported(made):
    prior = random_prior().use_precision("int8")
    path = graph_path(prior.unet)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged; the int8 network is made again"):
        random_prior().use_precision("int8")
    assert len(made) == 2
    random_prior().use_precision("int8")
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_stops_nothing(made, cache):
    cache.write_text("a file")
    with pytest.warns(UserWarning, match="is not kept"):
        random_prior().use_precision("int8")
    assert len(made) == 1


@pytest.fixture(scope="module")
def integer_prior(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUSIONBLEND_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield random_prior().use_precision("int8")


@needs_engine
def test_it_is_near_float32(integer_prior):
    """Within 8 % of the root mean square of what the network says, and not equal."""
    exact = random_prior()
    for size in (16, 32):
        x = blocks(size=size)
        found, wanted = (p.denoise(x, 300, 1.0)[1] for p in (integer_prior, exact))
        error = (found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
        assert 0 < error < 0.08


@needs_engine
def test_a_network_that_takes_lengths_and_refines_is_near_float32_too(cache):
    """Whose refinement does something: it is zero in a network that was not trained."""
    grid = Grid(shape=(3, 16, 24), spacing_mm=(2.5, 1.5, 1.5))
    priors = [random_prior(config=replace(TINY, length_codes=8, refine=8)) for _ in range(2)]
    for prior in priors:
        generator = torch.Generator().manual_seed(1)
        for p in prior.unet.refine.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    exact, integer = (prior.for_grid(grid) for prior in priors)
    integer.use_precision("int8")
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    wanted, found = (p.denoise(x, 300, 1.0)[1] for p in (exact, integer))
    error = (found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
    assert 0 < error < 0.08


@needs_engine
def test_a_block_depends_neither_on_its_batch_nor_on_the_threads(integer_prior, monkeypatch):
    x = blocks()
    whole = integer_prior.denoise(x, 300, 1.0)[0]
    parts = [integer_prior.denoise(x[i : i + 2], 300, 1.0)[0] for i in (0, 2, 4)]
    assert torch.equal(whole, torch.cat(parts))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(whole, integer_prior.denoise(x, 300, 1.0)[0])


@needs_engine
def test_sensitive_layers_stay_in_float32(integer_prior):
    graph = integer_network(integer_prior.unet, integer_prior.config)._graph[0].decode()
    integer = set(re.findall(r'name="__module\.unet\.([^"]*)/fq_weights_1"', graph))
    assert any("resnets.0.conv1" in name for name in integer)
    assert not [n for n in integer if re.search(r"attention|embedding|emb_proj|conv_(in|out)/", n)]
    rounded = set(re.findall(r'name="[^"]*/aten::([^"]*)/fq_output_0"', graph))
    assert {name.partition("/")[0] for name in rounded} == {"silu"}  # no sum, no norm


@needs_engine
def test_a_gradient_is_refused(integer_prior):
    x = blocks().requires_grad_()
    with pytest.raises(InputError, match="gradient of a network in int8"):
        integer_prior.denoise(x, 300, 1.0)
