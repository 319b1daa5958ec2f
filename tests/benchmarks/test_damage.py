"""Some damaged files of every format with fixed seeds; many more are a command's business."""

from __future__ import annotations

import numpy as np
import pytest

from damage import Damage, damage, formats_in, formats_names, outcome_of


def test_some_damaged_files_of_every_format(capsys):
    with pytest.raises(SystemExit) as ended:
        Damage(cases=len(formats_names()), seed=7).run()
    shown = capsys.readouterr()
    assert not ended.value.code, shown.out + shown.err
    assert all(f"| {name} | 1 |" in shown.out for name in formats_names())


def test_damage_is_fixed_by_its_seed_and_is_seen(tmp_path):
    kind = formats_in(tmp_path)[".npy"]
    content = kind.path.read_bytes()
    damaged = []
    for _ in range(2):
        kind.path.write_bytes(content)
        damage(kind.path, np.random.default_rng(3))
        damaged.append(kind.path.read_bytes())
    assert damaged[0] == damaged[1] != content


def test_what_raises_anything_else_has_failed(tmp_path):
    kind = formats_in(tmp_path)["record"]
    assert outcome_of(type(kind)(kind.path, lambda path: {}[path]), kind.path, 1).startswith(
        "failed"
    )
