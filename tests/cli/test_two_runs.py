"""Two runs that write one output at the same time: a whole output, and nothing left over."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from diffusionblend.io.volumes import read_volume
from diffusionblend.runs.record import read_run_record, run_record_path
from field_scans import HALF, parallel_lines

COMMANDS = {
    "reconstruct": lambda chest, scan, out: [
        *("reconstruct", scan, "-o", out / "a.nii.gz", "--method", "fbp")
    ],
    "projections import": lambda chest, scan, out: [
        *("projections", "import", out.parent / "lines.npy", "-o", out / "a.h5"),
        *("--column-mm", "1", "--arc-degrees", "180", "--values", "lines"),
    ],
    "import": lambda chest, scan, out: ["import", chest, "-o", out / "a.nii.gz"],
    "simulate": lambda chest, scan, out: ["simulate", chest, "-o", out / "a.h5", "--views", "4"],
    "export": lambda chest, scan, out: ["export", chest, "-o", out / "dicom"],
    "evaluate": lambda chest, scan, out: [
        *("evaluate", chest, "--reference", chest, "--report", out / "a.html")
    ],
    "sample": lambda chest, scan, out: ["sample", "counts", "-o", out / "a.npz"],
    "view": lambda chest, scan, out: ["view", chest, "--static", out / "a.html"],
}


def both_run(*words):
    """Two processes of a command at once: one of them ends well, the other too or in words."""
    command = [sys.executable, "-m", "diffusionblend", *map(str, words)]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [run.communicate()[0] for run in runs]
    codes = sorted(run.returncode for run in runs)
    assert codes in ([0, 0], [0, 1]) and "Traceback" not in "".join(said), said
    assert codes == [0, 0] or any(
        "exists already" in text or "is being written by another run" in text for text in said
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_two_runs_with_one_output(name, tmp_path, chest_file, scan_file):
    out = tmp_path / "out"
    np.save(tmp_path / "lines.npy", parallel_lines(HALF[::6], rows=2))
    both_run(*COMMANDS[name](chest_file, scan_file, out))
    outputs = [p for p in out.iterdir() if not p.name.endswith(".run.json")]
    assert len(outputs) == 1 and not list(out.rglob(".*"))
    assert read_run_record(run_record_path(outputs[0])).command == name
    if name in ("import", "export"):
        written, chest = (read_volume(p, check=False) for p in (outputs[0], chest_file))
        np.testing.assert_allclose(written.values, chest.values, atol=0.5)


@pytest.mark.slow
def test_two_runs_in_one_folder(tmp_path, scan_file):
    out = tmp_path / "out"
    both_run("run", scan_file, "--method", "fbp", "-o", out, "--device", "cpu")
    assert read_volume(out / "volume.nii.gz", check=False).values.any()
    assert read_run_record(out / "report.html.run.json").command == "run"
    assert not list(out.rglob(".*"))
