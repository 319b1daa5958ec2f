"""Two runs that write one output at the same time: a whole output, and nothing left over."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from diffusionblend.io.volumes import read_volume
from diffusionblend.runs.record import read_run_record, run_record_path

COMMANDS = {
    "import": lambda chest, out: ["import", chest, "-o", out / "a.nii.gz"],
    "simulate": lambda chest, out: ["simulate", chest, "-o", out / "a.h5", "--views", "4"],
    "export": lambda chest, out: ["export", chest, "-o", out / "dicom"],
    "evaluate": lambda chest, out: [
        *("evaluate", chest, "--reference", chest, "--report", out / "a.html")
    ],
    "view": lambda chest, out: ["view", chest, "--static", out / "a.html"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_two_runs_with_one_output(name, tmp_path, chest_file):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "diffusionblend", *map(str, COMMANDS[name](chest_file, out))]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [run.communicate()[0] for run in runs]
    codes = sorted(run.returncode for run in runs)
    assert codes in ([0, 0], [0, 1]) and "Traceback" not in "".join(said), said
    assert codes == [0, 0] or any("exists already" in text for text in said)
    outputs = [p for p in out.iterdir() if not p.name.endswith(".run.json")]
    assert len(outputs) == 1 and not list(out.rglob(".*"))
    assert read_run_record(run_record_path(outputs[0])).command == name
    if name in ("import", "export"):
        written, chest = (read_volume(p, check=False) for p in (outputs[0], chest_file))
        np.testing.assert_allclose(written.values, chest.values, atol=0.5)
