"""`calibrate`, and the 90 % bands of `reconstruct --samples`: fitted, found, refused, shown."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded, run_command
from diffusionblend.evaluation.bands import BAND_TISSUES, FLOOR_HU, tissue_numbers
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.phantom import synthetic_chest
from diffusionblend.runs.band_card import CARD_FILE, ScanKind, how_to_fit, read_card
from diffusionblend.runs.samples import band_path, deviation_path

STEPS = ("--steps", 2, "--device", "cpu", "--samples", 2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, tiny_prior) -> Path:
    """A folder with two patients, their calibration for 6 views and a scan of one of them."""
    folder = tmp_path_factory.mktemp("bands")
    for seed in (1, 2):
        write_volume(
            synthetic_chest(seed, shape=(6, 32, 32)), folder / "patients" / f"{seed}.nii.gz"
        )
    fit = ("calibrate", folder / "patients", "-o", folder / "bands.json", "--views", 6, *STEPS)
    assert run_command(*fit, "--prior", tiny_prior) == 0
    scan = ("simulate", folder / "patients" / "1.nii.gz", "-o", folder / "scan.h5", "--views", 6)
    assert run_command(*scan, "--photons", 1e6, "--oversample", 2) == 0
    return folder


def test_stopped_between_card_and_samples_it_goes_on(
    cli, fitted, tiny_prior, tmp_path, monkeypatch
):
    """As killed in that moment: no card without its samples' end, so no --force is asked for."""
    fit = ("calibrate", fitted / "patients", "-o", tmp_path / "bands.json", "--views", 6, *STEPS)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("diffusionblend.benchmarking.calibrating.Calibrator.remove_samples", stop)
        assert cli(*fit, "--prior", tiny_prior).code == 130
    assert_succeeded(cli(*fit, "--prior", tiny_prior))
    assert (tmp_path / "bands.json").read_text() == (fitted / "bands.json").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {"bands.json", "bands.json.run.json"}


def test_the_card_says_on_whom_for_what_and_how_well(fitted, tiny_prior):
    card = json.loads((fitted / "bands.json").read_text())
    assert card["patients"] == ["1.nii.gz", "2.nii.gz"] and card["samples"] == 2
    facts = json.loads((tiny_prior / "prior.json").read_text())
    assert card["priors"]["prior"]["weights_sha256"] == facts["weights_sha256"]
    assert card["settings"]["steps"] == 2 and "seed" not in card["settings"]
    (scan,) = card["scans"]
    assert (scan["views"], scan["arc_degrees"], scan["photons"]) == (6, 180, 1.11e6)
    assert set(scan["tissues"]) == {tissue.label for tissue in BAND_TISSUES}
    for held in scan["left_out"].values():
        assert 0 < held["by_mean"]["whole body"] <= 1
    assert not list(fitted.glob("*.samples"))  # they are kept only until the card is written
    assert read_card(fitted / "bands.json").patients == ("1.nii.gz", "2.nii.gz")


@pytest.fixture(scope="module")
def banded(fitted, tiny_prior) -> Path:
    """The mean of two samples of the scan, with its band."""
    output = fitted / "mean.nii.gz"
    command = ("reconstruct", fitted / "scan.h5", "-o", output, "--prior", tiny_prior, *STEPS)
    assert run_command(*command, "--calibration", fitted / "bands.json", "--seed", 3) == 0
    return output


def test_the_band_is_the_tissue_s_factor_times_the_deviation(fitted, banded):
    mean, sd, band = (
        read_volume(p, check=False).values
        for p in (banded, deviation_path(banded), band_path(banded))
    )
    factors = read_card(fitted / "bands.json").fits[0].factors
    by_number = np.array([factors[tissue.label] for tissue in BAND_TISSUES])
    expected = by_number[tissue_numbers(mean)] * np.maximum(sd, FLOOR_HU)
    np.testing.assert_allclose(band, expected, rtol=1e-4)
    record = json.loads(banded.with_name("mean.nii.gz.run.json").read_text())
    assert record["results"]["band"]["patients"] == ["1.nii.gz", "2.nii.gz"]


def test_evaluate_report_and_viewer_show_the_band(cli, tmp_path, fitted, banded):
    reference, page = tmp_path / "truth.nii.gz", tmp_path / "a.html"
    truth = synthetic_chest(1, shape=read_volume(banded).values.shape)
    write_volume(read_volume(banded).with_values(truth.values), reference)
    figures = tmp_path / "a.json"
    command = ("evaluate", banded, "--reference", reference, "-o", figures)
    assert_succeeded(cli(*command, "--report", page))
    found = json.loads(figures.read_text())["calibration"]["tissues"]["whole body"]
    assert found["within"]["1"] <= found["within_band"] <= 1
    assert "half the 90 % band" in page.read_text() and "Within the 90 % band" in page.read_text()
    shown = tmp_path / "v.html"
    assert_succeeded(cli("view", banded, "--reference", reference, "--static", shown))
    assert shown.read_text().count('class="volume"') == 4
    assert '"bands": [1]' in shown.read_text() and 'data-switch="band"' in shown.read_text()
    record = json.loads(banded.with_name("mean.nii.gz.run.json").read_text())
    del record["results"]["band"]  # as of a later run that has none
    other = tmp_path / "mean.nii.gz"
    for path in (banded, deviation_path(banded), band_path(banded)):
        shutil.copy(path, tmp_path / path.name)
    other.with_name("mean.nii.gz.run.json").write_text(json.dumps(record))
    assert_succeeded(cli("view", other, "--static", shown, "--force"))
    assert '"bands": []' in shown.read_text()


def test_a_calibration_beside_the_prior_is_found_where_it_suits(cli, tmp_path, fitted, tiny_prior):
    prior = tmp_path / "prior"
    shutil.copytree(tiny_prior, prior)
    output = tmp_path / "a.nii.gz"
    command = ("reconstruct", fitted / "scan.h5", "-o", output, "--prior", prior, *STEPS, "--force")
    result = cli(*command)
    assert_succeeded(result)
    assert "no 90 % band: The prior has no calibration." in result.out
    assert (
        "'diffusionblend calibrate PATIENTS -o bands.json --views 6 --photons 1e+06" in result.out
    )
    shutil.copy(fitted / "bands.json", prior / CARD_FILE)
    assert_succeeded(cli(*command))
    assert band_path(output).is_file()
    result = cli(*command[:-1], "--force", "--samples", 3)
    assert "2 samples instead of 3" in result.out
    assert not band_path(output).exists()  # that of the run before


OTHERS = {
    "samples": (("--samples", 3), "2 samples instead of 3"),
    "settings": (("--noise-fraction", 0.5), "noise_fraction 1.0 instead of 0.5"),
    "single": (("--samples", 1), "a single reconstruction"),
    "pixels": (("--pixel-mm", 3), "other scans"),
}


@pytest.mark.parametrize(("options", "word"), OTHERS.values(), ids=[*OTHERS])
def test_a_calibration_of_other_samples_is_refused(
    cli, tmp_path, fitted, tiny_prior, options, word
):
    command = ("reconstruct", fitted / "scan.h5", "-o", tmp_path / "out" / "a.nii.gz", *STEPS)
    given = ("--prior", tiny_prior, "--calibration", fitted / "bands.json")
    assert_refused(cli(*command, *given, *options), word)
    assert_nothing_in(tmp_path / "out")


def test_scans_and_priors_of_another_kind_are_refused(cli, tmp_path, fitted, scan_file, tiny_prior):
    from tiny_network import random_prior

    random_prior(5).save(tmp_path / "other")
    given = ("--calibration", fitted / "bands.json", *STEPS)
    noiseless = ("reconstruct", scan_file, "-o", tmp_path / "a.nii.gz", "--prior", tiny_prior)
    assert_refused(cli(*noiseless, *given), "other scans", "no noise", "--noiseless")
    other = ("reconstruct", fitted / "scan.h5", "-o", tmp_path / "a.nii.gz")
    assert_refused(cli(*other, "--prior", tmp_path / "other", *given), "another prior")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"patients": []}, "does not name the patients"),
        ({"patients": ["a", 3]}, "does not name the patients"),
        ({"format": 7}, "format 7"),
        ({"scans": [{}]}, "is damaged"),
        ({"priors": ["a"]}, "is damaged"),
    ],
)
def test_a_card_that_is_none_is_refused(tmp_path, fitted, change, word):
    from diffusionblend.errors import InputError

    path = tmp_path / "card.json"
    path.write_text(json.dumps(json.loads((fitted / "bands.json").read_text()) | change))
    with pytest.raises(InputError, match=word):
        read_card(path)


def test_patients_that_trained_or_are_too_few_are_refused(cli, tmp_path, fitted):
    from tiny_network import random_prior

    prior = random_prior()
    prior.trained["volumes"] = ["2.nii.gz"]
    prior.save(tmp_path / "prior")
    patients = fitted / "patients"
    command = (
        "calibrate",
        "-o",
        tmp_path / "out" / "b.json",
        *STEPS,
        "--prior",
        tmp_path / "prior",
    )
    assert_refused(cli(*command, patients), "was trained on 2.nii.gz")
    for volumes, word in (
        ((patients / "1.nii.gz",), "two or more patients"),
        ((tmp_path / "none",), "There is no"),
    ):
        result = cli(*command, *volumes)
        assert result.code == 1 and word in result.err
    single = cli(*command, patients, "--samples", 1)
    assert single.code == 1 and "--samples is 1" in single.err
    assert_nothing_in(tmp_path / "out")


def test_what_the_prior_has_not_seen_is_told(cli, tmp_path, fitted, tiny_prior):
    prior, output = tmp_path / "prior", tmp_path / "a.nii.gz"
    shutil.copytree(tiny_prior, prior)
    card = json.loads((fitted / "bands.json").read_text())
    found = [e for one in card["familiarity"]["denoising_error"].values() for e in one.values()]
    assert len(found) == 2 and card["familiarity"]["highest"] == max(found) > 0
    command = ("reconstruct", fitted / "scan.h5", "-o", output, "--prior", prior, "--force")
    for factor, is_told in ((1.0, False), (0.2, True)):
        card["familiarity"]["highest"] = factor * max(found)
        (prior / CARD_FILE).write_text(json.dumps(card))
        for samples in (1, 2):
            result = cli(*command, *STEPS, "--samples", samples)
            assert_succeeded(result)
            assert result.out.count("warning: this looks unlike what") == is_told
            results = json.loads(output.with_name("a.nii.gz.run.json").read_text())["results"]
            assert results["denoising_error"] > 0 and ("unfamiliar" in results) == is_told
    card["priors"]["prior"]["weights_sha256"] = "of another prior"
    (prior / CARD_FILE).write_text(json.dumps(card))
    assert "warning" not in cli(*command, *STEPS, "--samples", 1).out


@pytest.mark.parametrize(
    ("geometry", "views", "arc", "photons", "words"),
    [
        ("parallel", 8, 180.0, 1e6, "--views 8 --photons 1e+06 --samples 4"),
        ("fan", 60, 360.0, math.inf, "--views 60 --geometry fan --noiseless --samples 4"),
        ("parallel", 90, 90.0, 1e5, "--arc-degrees 90 --photons 100000 --samples 4"),
        ("parallel", 30, 90.0, 1e5, "one per degree of an arc"),
        ("helix", 90, 360.0, 1e5, "a parallel, fan or cone beam"),
        ("parallel", 8, 180.0, None, "projections import --photons"),
    ],
)
def test_what_to_run_is_of_the_scan_s_kind(geometry, views, arc, photons, words):
    kind = ScanKind(geometry=geometry, views=views, arc_degrees=arc, photons=photons, pixel_mm=3.0)
    told = how_to_fit(kind, 4, "langevin", 96)
    assert words in told
    assert "calibrate" not in told or "--method langevin --size 96" in told
