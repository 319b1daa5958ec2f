"""Some damaged files of every format with fixed seeds; many more are a command's business."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from damage import Damage, outcome_of
from damage_formats import MAKERS, copy_of, formats_in
from damage_ways import damage

CASES_OF_EACH = 1


def test_some_damaged_files_of_every_format(capsys):
    with pytest.raises(SystemExit) as ended:
        Damage(cases=CASES_OF_EACH * len(MAKERS), seeds=(7,)).run()
    shown = capsys.readouterr()
    assert not ended.value.code, shown.out + shown.err
    assert all(f"| {name} | {CASES_OF_EACH} |" in shown.out for name in MAKERS)


@pytest.mark.parametrize("name", [".npy", ".nii.gz", ".npz", "projections-fan", "record", "prior"])
def test_damage_is_fixed_by_its_seed_and_is_seen(tmp_path, name):
    kind = formats_in(tmp_path, (name,))[name]
    content = _content(kind.path)
    damaged = []
    for _ in range(2):
        case = copy_of(kind, tmp_path / "case")
        damage(case, np.random.default_rng(3))
        damaged.append(_content(case))
    assert damaged[0] == damaged[1] or name == "projections-fan"  # HDF5 notes the time
    assert damaged[0] != content


def test_fields_are_damaged_too(tmp_path):
    """Files that HDF5 and JSON still open, with another header."""
    kinds = formats_in(tmp_path, ("projections-fan", "record"))
    opened = dict.fromkeys(kinds, 0)
    for name, kind in kinds.items():
        for seed in range(12):
            case = copy_of(kind, tmp_path / "case")
            damage(case, np.random.default_rng(seed))
            try:
                h5py.File(case).close() if name != "record" else json.loads(case.read_text())
            except (OSError, ValueError, RecursionError):
                continue
            opened[name] += 1
    assert min(opened.values()) > 3


def test_parts_are_all_cases(tmp_path, capsys):
    for shard in ("0/2", "1/2"):
        with pytest.raises(SystemExit):
            Damage(cases=7, seeds=(1,), formats=("rows",), shard=shard, output=tmp_path).run()
    rows = [json.loads(line) for line in (tmp_path / "damage.jsonl").read_text().splitlines()]
    assert [row["cases"] for row in rows] == [4, 3]


def test_what_raises_anything_else_has_failed(tmp_path):
    kind = formats_in(tmp_path, ("record",))["record"]
    assert outcome_of(type(kind)(kind.path, lambda path: {}[path]), kind.path, 1).startswith(
        "failed"
    )


def _content(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file.read_bytes() for file in files]
