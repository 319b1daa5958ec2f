"""Files for containers, Conda and SLURM agree with the package, and priors' cards with the hub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from diffusionblend.io.projections import write_projections
from diffusionblend.priors.store import shipped_priors
from small_scan import scan, small_volume

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
CONTAINERS = sorted((REPOSITORY / "containers").glob("*.Dockerfile"))
SLURM = re.findall(
    r"^```bash\n(.*?)^```$",
    (REPOSITORY / "docs" / "slurm.md").read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)


def test_the_conda_environment_asks_for_what_the_package_asks_for():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text("utf-8"))
    asked = {d for d in environment["dependencies"] if isinstance(d, str)}
    for dependency in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)(.*)", dependency).groups()
        assert f"{CONDA_NAMES.get(name, name.lower())}{bound}" in asked
    assert len(asked) == len(PROJECT["dependencies"]) + 2  # Python and pip
    assert environment["channels"] == ["conda-forge"]


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_containers_copy_what_exists_and_what_the_build_needs(path):
    text = path.read_text("utf-8")
    copied = {w for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for w in line.split()}
    copied = {w for w in copied if not w.startswith("/")}
    assert {"pyproject.toml", "constraints.txt", "src", PROJECT["readme"]} <= copied
    assert set(PROJECT["license-files"]) <= copied
    let_through = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    for name in copied:
        assert (REPOSITORY / name).exists() and f"!{name}" in let_through
    torch = re.search(r"^TORCH \?= (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert torch[1] in text, "the version that the tests were last run with"
    assert "--constraint /source/constraints.txt" in text


def test_constraints_are_of_one_version_each_and_sorted():
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins == sorted(pins) and all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", pin) for pin in pins)
    assert len({pin.partition("==")[0] for pin in pins}) == len(pins)


@pytest.mark.parametrize("number", range(len(SLURM)))
def test_scripts_are_whole(number):
    script = SLURM[number]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for needed in ("--time", "--requeue", "--output=logs/", "--signal=TERM@", "/bin/activate",
                   "OMP_NUM_THREADS", "NUMBA_CACHE_DIR", "scontrol requeue"):  # fmt: skip
        assert needed in script, needed


def stand_ins(folder: Path, code: int | None) -> dict[str, str]:
    """An environment whose `srun` runs its command or ends with a code; requests are kept."""
    programs = folder / "programs"
    activate = folder / "envs" / "diffusionblend" / "bin"
    for made in (programs, activate):
        made.mkdir(parents=True)
    (activate / "activate").write_text("")
    run = f'exec {sys.executable} -m "$@"' if code is None else f"exit {code}"
    for name, body in (("srun", run), ("scontrol", f'echo "$@" > {folder}/asked')):
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_JOB_ID": "7"}
    return (
        os.environ
        | slurm
        | {
            "SLURM_CPUS_PER_TASK": "1",
            "HOME": str(folder),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
    )


def test_the_array_script_reconstructs_and_is_queued_again_when_stopped(tmp_path):
    (tmp_path / "scans").mkdir()
    write_projections(scan(small_volume(), 12), tmp_path / "scans" / "a.h5")
    script = SLURM[0].replace(" -o volumes/", " -o volumes/ --method fbp")
    assert "--method fbp" in script
    ran = subprocess.run(
        ["bash"],
        input=script,
        text=True,
        cwd=tmp_path,
        env=stand_ins(tmp_path, None),
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list((tmp_path / "volumes").glob("a*.nii.gz")) and not (tmp_path / "asked").exists()
    for code, is_queued in ((143, True), (1, False)):
        folder = tmp_path / str(code)
        folder.mkdir()
        ran = subprocess.run(
            ["bash"], input=script, text=True, cwd=folder, env=stand_ins(folder, code), check=False
        )
        assert ran.returncode == code and (folder / "asked").exists() == is_queued
    assert (tmp_path / "143" / "asked").read_text().split() == ["requeue", "7"]


@pytest.mark.parametrize("name", sorted(shipped_priors()))
def test_cards_have_the_hub_s_form(name):
    card = ModelCard.load(shipped_priors()[name] / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "diffusionblend"
    assert card.data.model_name == name
    assert {r.metric_type for r in card.data.eval_results} == {"psnr"}
    assert all(str(r.metric_value) in card.text for r in card.data.eval_results), "said in the text"
    assert "Not for diagnosis" in card.text and "## How to use it" in card.text


def test_there_are_eleven_questions():
    text = (REPOSITORY / "docs" / "questions.md").read_text("utf-8")
    assert re.findall(r"^\*\*(\d+)\. ", text, re.MULTILINE) == [str(n) for n in range(1, 12)]
