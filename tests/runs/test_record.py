from __future__ import annotations

import getpass
import json
import math
import platform
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.errors import InputError, OutputExistsError
from diffusionblend.runs.record import (
    RunRecord,
    peak_memory_mb,
    plain_value,
    portable_path,
    read_run_record,
    run_record_path,
)

# SHA-256 of b"abc": the first test vector of FIPS 180-4
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def a_record(tmp_path: Path) -> RunRecord:
    (tmp_path / "in.h5").write_bytes(b"abc")
    record = RunRecord(
        command="reconstruct",
        settings={"method": "fbp", "views": 8},
        seed=7,
        weights_sha256="0" * 64,
    )
    record.add_input(tmp_path / "in.h5")
    record.results["residual"] = 0.0125
    return record


def test_the_record_lies_beside_its_output():
    assert run_record_path("out/a.nii.gz") == Path("out/a.nii.gz.run.json")


def test_a_record_is_read_back_as_written(tmp_path):
    record = a_record(tmp_path)
    with record.timed("network"):
        pass
    path = run_record_path(tmp_path / "a.nii.gz")
    record.write(path)
    assert read_run_record(path) == record
    with pytest.raises(OutputExistsError):
        record.write(path)
    record.write(path, force=True)


def test_versions_are_those_of_this_installation(tmp_path):
    versions = a_record(tmp_path).versions
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__
    assert versions["torch"] == metadata.version("torch")


def test_inputs_are_hashed_and_checked_again(tmp_path):
    record = a_record(tmp_path)
    assert record.inputs[0]["sha256"] == ABC and record.inputs[0]["bytes"] == 3
    assert record.changed_inputs() == []
    (tmp_path / "in.h5").write_bytes(b"abd")
    assert record.changed_inputs() == [record.inputs[0]["path"]]
    (tmp_path / "in.h5").unlink()
    assert record.changed_inputs() == [record.inputs[0]["path"]]
    with pytest.raises(InputError):
        record.add_input(tmp_path / "none")


def test_a_folder_is_an_input(tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "0.dcm").write_bytes(b"abc")
    (tmp_path / "series" / "1.dcm").write_bytes(b"abcd")
    record = RunRecord(command="import", settings={})
    record.add_input(tmp_path / "series")
    assert record.inputs[0]["bytes"] == 7
    (tmp_path / "series" / "1.dcm").write_bytes(b"abce")
    assert len(record.changed_inputs()) == 1


@pytest.mark.parametrize(
    "path", ["/", "/proc", "/dev/zero", "a\0b", "a" * 5000, "~nobody-at-all/x"]
)
def test_inputs_without_a_size_are_not_read(path):
    record = RunRecord(command="import", settings={}, inputs=[{"path": path, "sha256": ABC}])
    assert record.changed_inputs() == [path]


def test_seconds_add_up_over_blocks_also_where_they_fail(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("diffusionblend.runs.record.time.perf_counter", lambda: now[0])
    record = RunRecord(command="train", settings={})
    for _ in range(2):
        with pytest.raises(KeyError), record.timed("network"):
            now[0] += 2.0
            raise KeyError
    assert record.seconds["network"] == 4.0


def test_paths_below_home_lose_the_users_name(tmp_path, monkeypatch):
    home = tmp_path / "home" / "alice"
    (home / "scans").mkdir(parents=True)
    (home / "scans" / "a.h5").write_bytes(b"abc")
    monkeypatch.setenv("HOME", str(home))
    record = RunRecord(command="reconstruct", settings={"input": home / "scans" / "a.h5"})
    record.add_input(home / "scans" / "a.h5")
    record.write(tmp_path / "r.run.json")
    text = (tmp_path / "r.run.json").read_text()
    assert "alice" not in text and "~/scans/a.h5" in text
    assert read_run_record(tmp_path / "r.run.json").changed_inputs() == []
    assert portable_path(home) == "~"
    assert portable_path(f"{home}-2/a") == f"{home}-2/a"
    assert portable_path("scans/a.h5") == "scans/a.h5"


def test_a_record_names_no_user_and_no_host(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.h5").write_bytes(b"abc")
    record = RunRecord(command="simulate", settings={})
    record.add_input("in.h5")
    record.write("a.run.json")
    entries = json.loads(Path("a.run.json").read_text())
    words = [str(v) for v in (*entries["versions"].values(), *entries["inputs"][0].values())]
    assert platform.node() not in " ".join(words).split()
    assert getpass.getuser() not in " ".join(words).split()
    assert set(entries) == {
        "command",
        "settings",
        "seed",
        "device",
        "inputs",
        "priors",
        "noise_device",
        "seconds",
        "peak_memory_mb",
        "results",
        "started",
        "versions",
        "record_version",
    }


class Colour(Enum):
    RED = "red"


@dataclass
class Settings:
    path: Path
    sizes: tuple[int, ...]


def test_settings_become_plain_values():
    found = plain_value(
        {
            "s": Settings(Path("a/b"), (1, 2)),
            "e": Colour.RED,
            "f": np.float32(0.5),
            "a": np.arange(3),
            "n": np.float64("nan"),
            "i": -math.inf,
            3: None,
            "b": True,
        }
    )
    assert found == {
        "s": {"path": "a/b", "sizes": [1, 2]},
        "e": "red",
        "f": 0.5,
        "a": [0, 1, 2],
        "n": "nan",
        "i": "-inf",
        "3": None,
        "b": True,
    }
    json.dumps(found, allow_nan=False)
    with pytest.raises(InputError, match="object"):
        plain_value({"o": object()})


def test_peak_memory_follows_what_is_used():
    before = peak_memory_mb()["process"]
    assert before > 5
    code = (
        "from diffusionblend.runs.record import peak_memory_mb as p; a = p()['process'];"
        "x = bytearray(b'1') * 200_000_000; print(p()['process'] - a)"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert float(grown.stdout) == pytest.approx(200, abs=40)


def test_nothing_heavy_is_imported():
    code = (
        "import sys, diffusionblend.runs.record, diffusionblend.io.volumes,"
        " diffusionblend.io.dicom.read, diffusionblend.io.projections,"
        " diffusionblend.data.resample;"
        "print(sorted({'torch', 'SimpleITK', 'pydicom', 'h5py', 'scipy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "not a run record"),
        ("[1]", "no JSON object"),
        ('{"command": "train"}', "no command"),
        ('{"command": "train", "settings": {}, "record_version": 99}', "version 99"),
        ('{"verb": "train", "settings": {}, "record_version": 1, "new": 1}', "version 1"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    (tmp_path / "a.run.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_run_record(tmp_path / "a.run.json")
    with pytest.raises(InputError, match="There is no"):
        read_run_record(tmp_path / "none.run.json")
