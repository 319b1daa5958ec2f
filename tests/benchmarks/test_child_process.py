"""The command that measures the price of the child process: what it reads, counts and allows."""

from __future__ import annotations

import json

import pytest

import child_process
from child_process import ChildProcess
from diffusionblend import read_projections, read_volume


@pytest.mark.parametrize(("price_s", "code"), [(0.34, 0), (0.36, 1)])
def test_the_fastest_reads_of_all_rounds_are_compared(tmp_path, monkeypatch, price_s, code):
    read, seconds = [], iter([[1, 1, 3], [1 + price_s, 9, 3], [2, 2, 4], [7, 1, 5]] * 3)

    def timed(path, in_process):
        read.append((path.suffix, in_process))
        assert (read_projections if path.suffix == ".h5" else read_volume)(path).values.any()
        return next(seconds)

    monkeypatch.setattr(child_process, "_seconds", timed)
    small = {"slices": 3, "size": 16, "nifti_mb": 0.01, "hdf5_mb": 0.05}
    with pytest.raises(SystemExit) as ended:
        ChildProcess(rounds=2, output=tmp_path / "rows.jsonl", **small).run()
    assert ended.value.code == code
    assert read == [(s, p) for s in ("", ".nii", ".h5") for p in (True, False) * 2]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [r["read"] for r in rows] == ["first", "second", "both, computing"] * 3
    assert rows[0]["price_s"] == pytest.approx(price_s) and rows[1]["price_s"] == 0.0
    assert rows[0]["allowed_s"] == pytest.approx(0.35)


def test_memory_is_touched_before_every_measured_process(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(child_process, "_touch", lambda n_bytes: done.append(n_bytes))
    monkeypatch.setattr(child_process, "_seconds", lambda *_: done.append("read") or [1.0] * 3)
    (tmp_path / "a.nii").write_bytes(b"whole")
    ChildProcess(rounds=1, touched_gb=0.5)._rows("a", tmp_path / "a.nii")
    assert done == [500_000_000, "read"] * 2
    monkeypatch.undo()
    child_process._touch(3 << 20)
