from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import diffusionblend
from diffusionblend.cli.commands import COMMANDS, RECORDED, first_words
from diffusionblend.cli.main import command_of
from diffusionblend.methods import METHODS

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVY = ["torch", "SimpleITK", "skimage", "matplotlib", "pydicom", "h5py", "scipy"] + [
    *("diffusers", "accelerate")
]


def test_the_command_line_imports_nothing_heavy():
    # in a process of its own, since the other tests have imported everything
    code = (
        "import sys, diffusionblend.cli.main; "
        f"print([m for m in {HEAVY} if m in sys.modules]); "
        "diffusionblend.cli.main.main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy, *help_text = done.stdout.splitlines()
    assert heavy == "[]"
    for word in first_words():
        assert any(f"• {word} " in line for line in help_text)
    assert "--version" in done.stdout and "examples:" in done.stdout


def test_the_list_of_commands_is_there_at_once():
    """In half a second of the processor's time, which other programs take little of."""
    command = [sys.executable, "-m", "diffusionblend", "--help"]
    before = os.times()
    for _ in range(3):
        subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    assert (user + system) / 3 < 0.5


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(cli, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli(*name.split(), "--help")
    assert result.code == 0
    first = COMMANDS[name].load().__doc__.split(".")[0].split()[0]
    assert first in result.out and first == COMMANDS[name].summary.split()[0]
    whole = cli(*name.split(), "--help-all").out
    for text in (result.out, whole):
        assert text.startswith(f"usage: diffusionblend {name} ")
        unbroken = re.sub(r" \\\n +", " ", text)
        assert all(example in unbroken for example in COMMANDS[name].examples)
        assert COMMANDS[name].examples and "{None}" not in text and "(default: None)" not in text
        assert "--no-force" not in text and "--no-dry-run" not in text
    # every option has its help, a whole sentence
    for entry in re.split(r"\n  (?=\S)", whole.partition("examples:")[0])[1:]:
        entry = " ".join(entry.partition("\n\n")[0].split())
        assert re.search(r"[.)]$", entry), entry


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_examples_of_the_help_parse(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text('method = "dds"')
    for example in COMMANDS[name].examples:
        words = shlex.split(example.partition(" > ")[0])
        assert words[0] == "diffusionblend" and command_of(words[1:])


def test_help_is_also_a_word(cli):
    assert cli("help").out == cli("--help").out
    assert cli("help", "simulate").out == cli("simulate", "--help").out


def test_a_command_of_two_words_is_listed_under_the_first(cli):
    text = cli("projections", "--help").out
    assert "• import" in text and "• info" in text
    result = cli("projections", "inof")
    assert result.code == 2 and "did you mean info?" in result.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("simulate", ("degrees", "1/mm", "counts", "8", "180")),
        ("import", ("in mm", "HU", "pixels")),
        ("train", ("10000", "0.0004", "Minutes between")),
        ("reconstruct", ("HU", "200", "balanced", "shipped")),
    ],
)
def test_help_shows_units_and_defaults(cli, command, words):
    text = " ".join(cli(command, "--help-all").out.split())
    for word in words:
        assert word in text


def test_the_version_is_reported(cli):
    for option in ("--version", "-V"):
        assert cli(option).out == f"diffusionblend {diffusionblend.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("reconstruct",), ("no-such-command",), ("simulate", "a.nii", "--views", "many")],
)
def test_wrong_usage_exits_with_2(cli, arguments):
    assert cli(*arguments).code == 2


@pytest.mark.parametrize(
    ("command", "option", "value", "word"),
    [
        ("reconstruct", "--noise-fraction", "nan", "noise_fraction is nan"),
        ("reconstruct", "--steps", "0", "steps is 0"),
        ("reconstruct", "--corrector-snr", "2", "corrector_snr is 2"),
        ("train", "--steps", "0", "steps, batch_size and validate_every are 0"),
        ("train", "--network.image-size", "17", "The network's slices are 17 pixels wide"),
    ],
)
def test_impossible_settings_are_reported_in_their_own_words(
    cli, tmp_path, command, option, value, word
):
    method = ("--method", "diffusion-mbir") if option == "--corrector-snr" else ()
    result = cli(command, "input", "-o", tmp_path / "a.nii.gz", *method, option, value)
    assert result.code == 1
    first, second = result.err.splitlines()[:2]
    assert first.startswith(f"diffusionblend: {word}")
    assert second.startswith("Expected: ")
    assert "Traceback" not in result.err and "tyro" not in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--rho", "--steps", "--samples"])
def test_an_option_of_the_wrong_kind_is_reported_by_its_name(cli, tmp_path, option):
    result = cli("reconstruct", "input", "-o", tmp_path / "a.nii.gz", option, "many")
    assert result.code == 2
    assert option in result.err and "'many'" in result.err and "tyro" not in result.err


def test_a_system_error_is_a_message_not_a_traceback(cli, tmp_path, chest_file, monkeypatch):
    def closed(path, on_step=None):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("diffusionblend.runs.record.sha256_of", closed)
    result = cli("import", chest_file, "-o", tmp_path / "a.nii.gz")
    assert result.code == 1
    assert "Permission denied" in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("methods",), ("simulate", "--help")])
def test_a_reader_that_has_had_enough_makes_no_noise(command):
    """As in `diffusionblend methods | head -1`."""
    line = [sys.executable, "-m", "diffusionblend.cli.main", *command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_plain_line(cli, tmp_path, chest_file):
    from diffusionblend.geometry import ParallelBeam
    from diffusionblend.io.projections import write_projections
    from diffusionblend.io.volumes import read_volume
    from diffusionblend.simulation import simulate

    chest, scan = read_volume(chest_file), tmp_path / "scan.h5"
    narrow = replace(ParallelBeam.fitting(chest.grid, 6), n_columns=9)
    with pytest.warns(UserWarning, match="too small"):
        write_projections(simulate(chest, narrow), scan)
    result = cli("reconstruct", scan, "-o", tmp_path / "a.nii.gz", "--method", "fbp")
    assert result.code == 0
    told = [line for line in result.err.splitlines() if "detector is too small" in line]
    assert len(told) == 1 and told[0].startswith("diffusionblend: warning: The detector")
    assert ".py" not in result.err and "UserWarning" not in result.err


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_in_the_middle_of_writing_leaves_nothing(
    cli, tmp_path, chest_file, monkeypatch, number, code
):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    begun = []

    def write_a_part(image, temporary):
        temporary.write_bytes(b"half of a volume")
        begun.append(temporary)
        os.kill(os.getpid(), number)

    monkeypatch.setattr("diffusionblend.io.volumes._write_image", write_a_part)
    before = signal.getsignal(signal.SIGTERM)
    try:
        result = cli("import", chest_file, "-o", tmp_path / "a.nii.gz")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert begun
    assert result.code == code
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

awaited = sys.argv[1]

class CtrlC:
    def find_spec(self, name, *_):
        if name == awaited:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
sys.argv[1:] = ["train", "--help"]
"""
"""A process that gets Ctrl-C when it imports the module that is named."""


@pytest.mark.parametrize("module", ["diffusionblend.cli.main", "tyro", "diffusionblend.cli.train"])
def test_ctrl_c_while_it_starts_is_quiet(module):
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    home, _, function = scripts["diffusionblend"].partition(":")
    as_module = "runpy.run_module('diffusionblend', run_name='__main__')"
    for start in (as_module, f"import {home}; {home}.{function}()"):
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_IMPORT + start, module],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_every_exported_name_is_there():
    assert set(diffusionblend.__all__) >= {"reconstruct", "simulate", "Volume"}
    for name in diffusionblend.__all__:
        assert getattr(diffusionblend, name) is not None


def test_the_command_offers_every_method(cli):
    text = " ".join(cli("reconstruct", "--help").out.split())
    assert f"{', '.join(METHODS)}." in text


def test_what_leaves_a_record_is_known():
    assert set(RECORDED) == set(COMMANDS) - {
        *("methods", "settings", "repeat", "priors", "doctor", "projections info")
    }
