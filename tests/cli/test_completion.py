"""What a shell completes by the script of `--completion`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

TRY = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _diffusionblend; echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices(cli):
    script = cli("--completion", "bash").out
    expected = {
        ("rec",): {"reconstruct"},
        ("projections", "i"): {"import", "info"},
        ("projections", "import", "--da"): {"--darks"},
        ("reconstruct", "--jump"): {"--jump-every", "--jump-stride"},
        ("reconstruct", "scan.h5", "--consistency", ""): {
            *("cg", "prox", "admm-tv-z", "hard", "dps", "none")
        },
        ("reconstruct", "scan.h5", "--method", "f"): {"fbp", "fbp-unet"},
        ("simulate", "--geometry", "c"): {"cone"},
    }
    for words, wanted in expected.items():
        command = ["bash", "-c", script + TRY, "bash", "diffusionblend", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert set(done.stdout.split()) == wanted


def test_zsh_loads_what_the_script_needs(cli):
    assert cli("--completion=zsh").out.startswith("autoload -U +X bashcompinit")
    assert cli("--completion", "fish").code == 2
