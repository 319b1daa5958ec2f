from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from command_line import assert_refused, assert_succeeded
from diffusionblend.priors.prior import PRIOR_FILE, WEIGHTS_FILE, load_prior
from diffusionblend.priors.store import shipped_priors

FACTS = {
    "volumes": ["a", "b"],
    "slices": 70,
    "blocks": 640,
    "validation_loss": 0.0629,
    "settings": {"synthetic_volumes": 12},
}


@pytest.fixture
def shipped(tiny_prior, tmp_path, monkeypatch):
    """The package's priors: a whole one, and one whose weights are damaged."""
    good = shutil.copytree(tiny_prior, tmp_path / "good")
    facts = json.loads((good / PRIOR_FILE).read_text())
    (good / PRIOR_FILE).write_text(json.dumps(facts | {"trained": FACTS}))
    damaged = shutil.copytree(tiny_prior, tmp_path / "damaged")
    (damaged / WEIGHTS_FILE).write_bytes((damaged / WEIGHTS_FILE).read_bytes()[:-8])
    priors = {"good": good, "damaged": damaged}
    monkeypatch.setattr("diffusionblend.priors.store.shipped_priors", lambda: priors)
    return priors


def test_the_list_reports_what_each_is_and_which_is_damaged(cli, shipped):
    result = cli("priors")
    assert_succeeded(result)
    good, damaged = (
        next(line for line in result.out.splitlines() if line.split()[:1] == [name])
        for name in shipped
    )
    digest = hashlib.sha256((shipped["good"] / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert "16 x 16" in good and "0.0629" in good and f"whole, {digest[:8]}" in good
    assert "NOT WHOLE" in damaged
    assert "good: trained on 2 volumes, 70 slices, 12 synthetic chests, 640 blocks" in result.out
    assert "another SHA-256" in result.out and "…" not in result.out


def test_json_holds_the_same_for_programs(cli, shipped):
    good, damaged = json.loads(cli("priors", "--json").out)
    prior = load_prior(shipped["good"])
    assert good["name"] == "good" and good["whole"] is True and good["problem"] is None
    assert good["parameters"] == sum(p.numel() for p in prior.unet.parameters())
    assert (good["slice_pixels"], good["block_slices"]) == (16, 3)
    n_bytes = (shipped["good"] / WEIGHTS_FILE).stat().st_size
    assert good["file_mb"] == pytest.approx(n_bytes / 1e6, abs=0.05)
    assert good["weights_sha256"] == prior.weights_sha256
    assert good["validation_loss"] == 0.0629
    assert damaged["whole"] is False and damaged["parameters"] is None
    assert json.loads(cli("priors", "good", "--json").out) == good


def test_one_is_described_by_name_folder_and_hub_id(cli, shipped, monkeypatch):
    folder = shipped["good"]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    for name in ("good", str(folder), "someone/chest@v1"):
        result = cli("priors", name)
        assert_succeeded(result)
        assert name in result.out and str(folder) in result.out
        assert "2 volumes, 70 slices" in result.out
        assert load_prior(folder).weights_sha256 in result.out
        facts = {line[:16].rstrip(): line[17:] for line in result.out.splitlines()}
        assert facts["slice size"] == "16 x 16 pixels" and facts["slices at once"] == "3"
        assert facts["validation loss"] == "0.0629" and facts["weights"] == "whole"


def test_one_that_is_damaged_or_not_there_is_refused(cli, shipped, tmp_path):
    assert_refused(cli("priors", "damaged"), "damaged is not whole", "SHA-256")
    (tmp_path / "empty").mkdir()
    assert_refused(cli("priors", tmp_path / "empty"), "prior.json")
    assert_refused(cli("priors", "dreams"), "'dreams'", "good, damaged")


def test_a_package_without_priors_says_so(cli, monkeypatch):
    monkeypatch.setattr("diffusionblend.priors.store.shipped_priors", dict)
    assert "no prior is in the package" in cli("priors").out
    assert json.loads(cli("priors", "--json").out) == []


def test_every_shipped_prior_is_reported_as_it_is(cli):
    listed = {p["name"]: p for p in json.loads(cli("priors", "--json").out)}
    assert set(listed) == set(shipped_priors())
    for name, folder in shipped_priors().items():
        facts = json.loads((folder / PRIOR_FILE).read_text())
        assert listed[name]["whole"] is True
        assert listed[name]["validation_loss"] == facts["trained"].get("validation_loss")
        any_size = facts["network"].get("length_codes")
        assert listed[name]["slice_pixels"] == (
            None if any_size else facts["network"]["image_size"]
        )
