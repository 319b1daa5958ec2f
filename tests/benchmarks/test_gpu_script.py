"""benchmarks/gpu.sh: everything in the tiny mode, and what it makes of a part that fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffusionblend import load_prior, synthetic_chest
from pack_volumes import write_pack

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"
WEIGHTS = "diffusion_pytorch_model.safetensors"

ABSENT = ("SimpleITK", "tyro", "numba", "pydicom", "rich", "jinja2")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def run_script(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess:
    """The tiny mode with these variables, in folders of its own."""
    folders = {"OUT": str(tmp_path / "out"), "WORK": str(tmp_path / "work")}
    return subprocess.run(
        ["bash", SCRIPT, "--tiny"],
        env={**os.environ, "PYTHON": sys.executable, **folders, **variables},
        capture_output=True,
        text=True,
    )


def test_the_tiny_mode_runs_every_part(tmp_path):
    """On a machine that lacks what a card does not need; diffusers would come as a wheel."""
    pack = tmp_path / "train.npz"
    chest = synthetic_chest(5, shape=(6, 32, 32), in_plane_mm=11.0)
    write_pack({"chest": chest}, pack, step_hu=4.0, limit_mb=1.0)
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ABSENT:
        (absent / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here')\n")
    done = run_script(tmp_path, TRAIN_PACK=str(pack), PYTHONPATH=str(absent))
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"
    log = (out / "log.txt").read_text()
    assert "test_a_cuda_device_gives_the_same" in log
    assert json.loads((out / "sampling.jsonl").read_text())["settings"]["device"] == "cpu"
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] > 0
    assert load_prior(out / "prior").trained["volumes"] == ["chest"]
    assert (tmp_path / "work" / "training" / "checkpoint.pt").exists()
    assert "checkpoint.pt" not in {p.name for p in out.rglob("*")}


def test_a_part_that_fails_or_hangs_does_not_stop_the_next(tmp_path):
    """Neither a failure nor a hang."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *sampling.py*) exit 3;; *"-m pytest"*) exec sleep 60;; esac\n'
        'echo "ran: $*"\n'
    )
    python.chmod(0o755)
    done = run_script(tmp_path, PYTHON=str(python), MAX_FILE_MB="1", TEST_MINUTES="0.005")
    assert done.returncode == 1
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "tests: FAILED with exit code 124" in log
    assert "benchmarks: FAILED with exit code 3" in log
    assert log.index("FAILED") < log.index("gpu_train.py")
    assert f"--keep {tmp_path / 'out'} --max-file-mb 1" in log
    assert log.splitlines()[-1] == "failed: tests benchmarks"


@pytest.mark.parametrize(("variable", "value"), [("PARTS", "tests trainings")])
def test_an_unknown_part_is_refused(tmp_path, variable, value):
    done = run_script(tmp_path, **{variable: value})
    assert done.returncode == 2
    assert "trainings" in done.stderr
