"""The options of `reconstruct` are those of its method; settings files; what was meant."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from command_line import assert_succeeded
from diffusionblend.cli.compose import chosen_for
from diffusionblend.cli.parse import parsed_command
from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
from diffusionblend.registry import Registry

FILES = ("scan.h5", "-o", "a.nii.gz")
LINES_OF_HELP, LINES_OF_PAGE = 60, 100


def parsed(*options):
    return parsed_command("reconstruct", [*map(str, (*FILES, *options))])


def test_a_method_and_its_step_have_their_settings_without_a_prefix():
    method = parsed("--method", "dds", "--consistency", "prox", "--rho", 0.3, "--steps", 7).method
    assert (method.name, method.steps) == ("dds", 7)
    assert (method.consistency.name, method.consistency.rho) == ("prox", 0.3)
    assert parsed("--method=cgls", "--iterations=3").method == METHODS["cgls"](iterations=3)
    assert parsed().method == METHODS["diffusionblend++"]()


@pytest.mark.parametrize("name", list(METHODS))
def test_what_is_not_given_is_the_methods_default(name):
    command = parsed("--method", name)
    assert command.method == METHODS[name]()
    assert (command.projections, command.output) == (Path("scan.h5"), Path("a.nii.gz"))


@pytest.mark.parametrize("name", list(METHODS))
def test_every_setting_of_every_method_is_an_option_and_no_other_is(cli, name):
    own = {f.name for f in fields(METHODS[name])}
    text = cli("reconstruct", "--method", name, "--help-all").out
    options = {
        o.removeprefix("no-").replace("-", "_") for o in re.findall(r"^  --(\S+)", text, re.M)
    }
    assert own <= options
    others = {f.name for m in METHODS for f in fields(METHODS[m])} - own
    step = chosen_for(name).step
    others -= set() if step is None else {f.name for f in fields(step)}
    assert not others & options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "dds", "--stepz", 3), ("has no option --stepz", "did you mean --steps?")),
        (("--method", "dds", "--weight", 3), ("--weight is an option of --method admm-tv",)),
        (("--cg-iterations", 3, "--method", "fbp"), ("--consistency cg",)),
        (("--hard-weight", 3), ("--consistency hard",)),
        (("--method", "sirt", "--prior", "chest"), ("has no option --prior",)),
        (("--method", "fpb"), ("no method 'fpb'", "did you mean fbp?")),
        (("--consistency", "porx"), ("'porx'", "did you mean prox?")),
        (("--preset", "bset"), ("--preset is 'bset'", "did you mean best?")),
        (("--steps", "many"), ("--steps is 'many'", "a whole number")),
        (("--no-force",), ("has no option --no-force",)),
        (("--device", "gpu"), ("--device is 'gpu'", "one of auto, cpu, cuda", "mean cuda?")),
        (("--device", "mps"), ("--device is 'mps'; PyTorch has no float64", "Try: --device auto")),
        (("--preset", "quick"), ("--preset is 'quick'", "did you mean fast?")),
        (("--preset", "zzz"), ("--preset is 'zzz'", "Try: --preset balanced")),
        (("--data-step", "cg"), ("--consistency, its name now",)),
        (("--fbp.window", "hann"), ("--method fbp --window",)),
        (("--tv.weight", 1), ("--method admm-tv --weight",)),
        (("--method", "fbp", "--samples", 3), ("Try: a method that uses it", "diffusionblend++")),
        (("--steps",), ("--steps was given no value", "Try: --steps 20")),
        (("--steps", "--force"), ("--steps was given no value",)),
        (("extra",), ("was given extra beside its options", "Try: diffusionblend reconstruct")),
        (("-x",), ("has no option -x",)),
    ],
)
def test_wrong_options_are_refused_with_what_was_meant(cli, options, words):
    result = cli("reconstruct", *FILES, *options)
    assert result.code == 2
    assert result.err.startswith("diffusionblend: ") and "\nExpected: " in result.err
    for word in words:
        assert word in result.err
    # none of the other commands is named
    assert "--views" not in result.err and "simulate" not in result.err


def test_what_is_missing_is_named_with_an_example(cli):
    result = cli("reconstruct", "scan.h5")
    assert result.code == 2
    assert "reconstruct was given no -o or --output" in result.err
    assert "diffusionblend reconstruct scan.h5 -o volume.nii.gz" in result.err
    without = cli("reconstruct", "-o", "a.nii.gz")
    assert without.code == 2 and "reconstruct was given no PROJECTIONS." in without.err
    assert "no PROJECTIONS and no -o" in cli("reconstruct").err
    assert "settings was given no METHOD" in cli("settings").err
    assert "Try: diffusionblend reconstruct" in cli("reconstruct", "scan.h5", "-o").err
    assert "2 of 3 values" in cli("import", "a", "-o", "b.nii", "--spacing-mm", 1, 2).err
    assert "--prior-type, its name now" in cli("train", "a", "-o", "b", "--layout", "x").err


def test_negative_numbers_and_lists_are_values(tmp_path):
    cg = ("--consistency", "cg")
    assert parsed(*cg, "--rho", "0.5", "--seed", "3").method.consistency.rho == 0.5
    assert parsed(*cg, "--rho=1e-3", "--cg_iterations", "7").method.consistency.cg_iterations == 7
    with pytest.raises(InputError, match="rho is"):
        parsed(*cg, "--rho", "-1")


def test_the_page_of_a_method_has_an_example_of_it_and_no_option_that_it_refuses(cli, monkeypatch):
    monkeypatch.setattr("diffusionblend.priors.store.DEFAULT_ORDER", ("chest",))
    page = cli("reconstruct", "--method", "fbp", "--help-all").out
    assert "--samples" not in page and page.rstrip().endswith("-o volume.nii.gz --method fbp")
    page = cli("reconstruct", "--method", "tpdm", "--help").out
    assert "--method tpdm --prior" in page and "--coronal-prior priors/coronal" in page


def test_a_prior_that_was_probably_meant_is_named(cli, scan_file, tmp_path):
    result = cli("reconstruct", scan_file, "-o", tmp_path / "a.nii.gz", "--prior", "chest-slic")
    assert result.code == 1 and "did you mean chest-slices?" in result.err


def test_a_wrong_option_of_another_command_is_refused_likewise(cli):
    result = cli("simulate", "chest.nii.gz", "-o", "scan.h5", "--veiws", 3)
    assert result.code == 2 and "did you mean --views?" in result.err
    result = cli("simulat", "chest.nii.gz")
    assert result.code == 2 and "did you mean simulate?" in result.err


@pytest.mark.parametrize("name", list(METHODS))
def test_help_keeps_to_its_length(cli, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    if name == "diffusionblend++":
        assert len(cli("reconstruct", "--help").out.splitlines()) < LINES_OF_HELP
    pages = [cli("reconstruct", "--method", name, "--help").out]
    steps = (
        [()] if chosen_for(name).step is None else [("--consistency", s) for s in CONSISTENCY_STEPS]
    )
    for step in steps:
        result = cli("reconstruct", "--method", name, *step, "--help-all")
        assert result.code == 0
        pages.append(result.out)
    for page in pages:
        assert len(page.splitlines()) < LINES_OF_PAGE
        assert max(map(len, page.splitlines())) <= 80
        assert "{None}" not in page and "(default: None)" not in page and "--no-force" not in page


def test_the_short_help_has_the_basic_options_and_names_the_rest(cli):
    short = cli("reconstruct", "--method", "dds", "--help").out
    assert "--steps INT" in short and "--time-power" not in short
    assert "--help-all" in short and "examples:" in short
    assert "--time-power FLOAT" in cli("reconstruct", "--method", "dds", "--help-all").out


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("step", [None, "cg", "none"])
def test_a_settings_file_has_every_setting_and_its_defaults_are_those(cli, tmp_path, name, step):
    if step is not None and chosen_for(name).step is None:
        return
    result = cli("settings", name, *(() if step is None else ("--consistency", step)))
    assert_succeeded(result)
    path = tmp_path / "my.toml"
    path.write_text(result.out)
    assert tomllib.loads(result.out) == {"method": name} | (
        {} if step is None else {"consistency": step}
    )
    from_file, from_line = parsed("--settings", path), parsed(*_options(name, step))
    assert from_file == from_line
    # and so they are with the comments taken off
    whole = re.sub(r"^# (\w+ = .+)$", r"\1", result.out, flags=re.M)
    path.write_text(whole)
    assert parsed("--settings", path).method == from_line.method
    for setting in chosen_for(name, step).settings:
        assert re.search(rf"^(# )?{setting} =", result.out, re.M)


def _options(name, step):
    return ("--method", name, *(() if step is None else ("--consistency", step)))


def test_the_line_wins_over_the_file(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(
        'method = "dds"\nsteps = 9\ntime_power = 2\nconsistency = "cg"\nnonnegative = false\n'
    )
    command = parsed("--settings", path, "--steps", 4)
    assert command.method.steps == 4 and command.method.time_power == 2
    assert command.method.consistency.name == "cg" and not command.method.nonnegative
    assert parsed("--settings", path, "--nonnegative").method.nonnegative
    assert parsed("--settings", path, "--consistency", "none").method.consistency.name == "none"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('method = "dds"\nwings = 2\n', ("wings", "dds")),
        ('method = "dds"\npreset = "best"\n', ("preset", "dds")),
        ('method = "dds"\nsteps = "many"\n', ("steps = 'many'", "a whole number for steps")),
        ('method = "dds"\nnonnegative = 1\n', ("true or false for nonnegative",)),
        ('method = "fbp"\nweight = 2\n', ("weight is a setting of --method admm-tv",)),
        ('method = "dds"\nstepz = 2\n', ("did you mean steps?",)),
        ('method = "fbp"\nwindow = "han"\n', ("did you mean hann?",)),
        ('method = "dds"\nsteps =\n', ("line 2: steps has no value", "#")),
        ('method = "dds"\nsteps = None\n', ("line 2: steps has the value None",)),
        ('method = "dds"\nsteps = 0\n', ("steps is 0",)),
        ('preset = "bset"\n', ("'bset'",)),
        ("method = [1]\n", ("method",)),
        ("method: dds\n", ("cannot be read",)),
        ("a = " + "[" * 9999, ("my.toml", "nested too deeply")),
        ("a = " + "9" * 9999, ("my.toml", "Exceeds the limit")),
        ('\ufeffmethod = "admm-tv"\nweight = inf\n', ("weight is inf",)),
    ],
)
def test_a_wrong_settings_file_is_refused(cli, tmp_path, text, words):
    path = tmp_path / "my.toml"
    path.write_text(text)
    result = cli("reconstruct", *FILES, "--settings", path)
    assert result.code == 1 and "Expected: " in result.err
    for word in words:
        assert word in result.err
    missing = cli("reconstruct", *FILES, "--settings", tmp_path / "none.toml")
    assert missing.code == 1 and "There is no settings file" in missing.err
    assert "Errno" not in missing.err


def test_a_settings_file_is_what_a_run_is_made_with(cli, tmp_path, scan_file):
    path, output = tmp_path / "my.toml", tmp_path / "a.nii.gz"
    path.write_text('method = "cgls"\niterations = 3\n')
    assert_succeeded(cli("reconstruct", scan_file, "-o", output, "--settings", path))
    settings = json.loads((tmp_path / "a.nii.gz.run.json").read_text())["settings"]
    assert settings["method"] == "cgls"
    assert settings["settings"] == {"iterations": 3, "nonnegative": True}
    assert not {"prior", "steps", "fbp", "checkpoint_minutes"} & settings.keys()


def test_a_method_of_another_package_may_not_hide_an_option(monkeypatch):
    from dataclasses import dataclass

    from diffusionblend.methods.base import Method

    @dataclass(frozen=True, kw_only=True)
    class Greedy(Method):
        name = "greedy"
        summary = when = "a test"
        force: int = 3

        def run(self, problem, priors, execution):
            raise NotImplementedError

    real = Registry.__getitem__
    monkeypatch.setattr(
        Registry, "__getitem__", lambda own, name: Greedy if name == "greedy" else real(own, name)
    )
    with pytest.raises(InputError, match="force"):
        parsed("--method", "greedy")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fbp", "It needs no prior."),
        ("dds", "prior of the type slices: by default chest-slices"),
        ("diffusionblend", "prior of the type conditional: by default chest-conditional"),
        ("tpdm", "coronal: none is shipped; train one with 'train --prior-type coronal', and give"),
        ("diffusionblend++", "prior of the type joint: by default chest"),
    ],
)
def test_settings_help_and_the_list_say_which_prior_a_method_needs(cli, monkeypatch, name, words):
    in_help = []
    if "none is shipped" in words:
        in_help = [("reconstruct", "--help", "--method")]
        monkeypatch.setattr("diffusionblend.priors.store.DEFAULT_ORDER", ("chest", "chest-slices"))
    for command in (("settings",), ("methods",), *in_help):
        page = cli(*command, name).out
        assert words in " ".join(page.replace("\n# ", " ").split()), command
