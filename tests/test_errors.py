"""Messages name a setting as an option on the command line, and as an argument in Python."""

from __future__ import annotations

import ast
import inspect
import pickle
from dataclasses import fields
from pathlib import Path

import pytest

import diffusionblend as db
from command_line import run_command
from diffusionblend.cli.simulate import Simulate
from diffusionblend.errors import (
    SWITCHES,
    InputError,
    did_you_mean,
    in_python,
    on_the_command_line,
)
from diffusionblend.methods import METHODS

SOURCE = Path(inspect.getfile(db)).parent


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("--dual-damping 0 --tail-average-below 0", "dual_damping=0, tail_average_below=0"),
        ("--device cpu, or --precision auto", 'device="cpu", or precision="auto"'),
        ("--init coarse, or no --coarse-prior", 'init="coarse", or no coarse_prior'),
        ("--init noise, which has 1000", 'init="noise", which has 1000'),
        ("(--method admm-tv)", '(method="admm-tv")'),
        ("--photons 1e6 or --rho 0.5", "photons=1e6 or rho=0.5"),
        ("--image-key 001.h5", 'image_key="001.h5"'),
        ("--views 'raw_*.tiff', where", "views='raw_*.tiff', where"),
        ("--angles FILE.csv with one a view", "angles=FILE.csv with one a view"),
        ("--only AcquisitionNumber=2", 'only="AcquisitionNumber=2"'),
        ("--network.length-codes 32", "network.length_codes=32"),
        ("--centre-column with the column", "centre_column with the column"),
        ("swap --flats and --darks, if", "swap flats and darks, if"),
        ("--steps for their number", "steps for their number"),
        ("another path, or --force to overwrite it", "another path, or force=True to overwrite it"),
        ("the views' names; or --angles", "the views' names; or angles"),
        ("'diffusionblend train V --views 8'", "'diffusionblend train V --views 8'"),
        ("'gdcmconv --raw', or --views 8", "'gdcmconv --raw', or views=8"),
        ("a--b and a dash - and -- alone", "a--b and a dash - and -- alone"),
    ],
)
def test_options_become_arguments(options, arguments):
    assert in_python(options) == arguments


def test_a_message_is_worded_for_where_it_is_shown():
    error = InputError("rho is -1 in --odd 3.h5.", "a number", "--rho 0, or 'diffusionblend demo'")
    told = "rho is -1 in --odd 3.h5.\nExpected: a number\nTry: {}0, or 'diffusionblend demo'"
    assert str(error) == told.format("rho=")
    with on_the_command_line():
        assert str(error) == told.format("--rho ")
    assert str(error) == told.format("rho=")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_same_error_in_python_and_on_the_command_line(tmp_path, capsys):
    volume = tmp_path / "chest.nii.gz"
    db.write_volume(db.synthetic_chest(1, shape=(3, 8, 8)), volume)
    with pytest.raises(InputError, match="force=True to overwrite"):
        db.write_volume(db.read_volume(volume), volume)
    assert run_command("simulate", volume, "--views", 3, "-o", tmp_path / "scan.h5") == 0
    assert run_command("simulate", volume, "--views", 3, "-o", tmp_path / "scan.h5") == 1
    assert "--force to overwrite" in capsys.readouterr().err
    scan = db.read_projections(tmp_path / "scan.h5")
    with pytest.raises(InputError, match='method="diffusionblend\\+\\+"'):
        db.sample(scan, "fbp", n=2)


def test_a_message_may_begin_with_a_setting():
    error = InputError("--only is 'a --force b'.", "TAG=VALUE", "--only TAG=2")
    assert str(error).startswith("only is 'a --force b'.\nExpected: TAG=VALUE")
    with on_the_command_line():
        assert str(error).startswith("--only is 'a --force b'.")


def messages() -> list[str]:
    """What every InputError of the library expects and tries, as far as it is written out."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if "cli" in path.parts or not isinstance(call, ast.Call):
                continue
            if str(getattr(call.func, "id", "")).endswith("Error"):
                texts = [a for a in call.args[1:] if isinstance(a, ast.Constant)]
                found += [text.value for text in texts if isinstance(text.value, str)]
    return found


def test_no_message_in_python_names_an_option_outside_of_a_command():
    told = [in_python(text) for text in messages()]
    assert len(told) > 300
    assert any("centre_column" in text for text in told)
    bare = [text for text in told if "--" in text and "'" not in text]
    assert not bare


def test_switches_are_those_of_the_readers_and_the_writers():
    settings = {f.name: f.type for kind in (Simulate, db.ReadOptions) for f in fields(kind)}
    assert {settings[name.replace("-", "_")] for name in SWITCHES} == {"bool"}


OPTIONS = ["--force", "--arc-degrees", "--views", "--device"]


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("--arc", OPTIONS, "--arc-degrees"),
        ("--view", OPTIONS, "--views"),
        ("--devcie", OPTIONS, "--device"),
        ("TV", list(METHODS), "admm-tv"),
        ("diffusionblend+", list(METHODS), "diffusionblend++"),
        ("fpb", list(METHODS), "fbp"),
    ],
)
def test_the_name_that_was_meant_is_asked_about(name, known, meant):
    assert did_you_mean(name, known) == f"did you mean {meant}?"


@pytest.mark.parametrize(("name", "known"), [("zzz", METHODS), ("", METHODS), ("tv", [])])
def test_where_none_is_near_nothing_is_asked(name, known):
    assert did_you_mean(name, list(known)) == ""
