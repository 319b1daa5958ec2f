"""Partitions: what must hold for any number of slices, any block and any stride."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusionblend.errors import InputError
from diffusionblend.priors.partition import (
    KINDS,
    Partition,
    draw_partitions,
    make_partition,
    offset_count,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Slices, slices in a block, stride, offset."""
    k = draw(st.integers(1, 6))
    n_slices = draw(st.integers(k, 60))
    stride = draw(st.integers(1, 9))
    return n_slices, k, stride, draw(st.integers(0, offset_count(n_slices, k, stride) - 1))


def first(n_slices: int, k: int, n: int, seed: int = 0, **changes: object) -> list[Partition]:
    options = {"kind": "alternating", "jump_stride": 3, "jump_every": 2} | changes
    generator = torch.Generator().manual_seed(seed)
    return list(islice(draw_partitions(n_slices, k, **options, generator=generator), n))


def as_sets(partition: Partition) -> set[tuple[int, ...]]:
    return {tuple(block) for block in partition.blocks.tolist()}


@settings(deadline=None)
@given(cases())
def test_every_slice_is_covered_by_blocks_spaced_by_the_code(
    case: tuple[int, int, int, int],
) -> None:
    n_slices, k, stride, offset = case
    partition = make_partition(n_slices, k, stride, offset)
    blocks = partition.blocks.tolist()
    assert 1 <= partition.code <= stride
    assert {i for block in blocks for i in block} == set(range(n_slices))
    for block in blocks:
        assert block == [block[0] + i * partition.code for i in range(k)]
    assert len(as_sets(partition)) == len(blocks)
    assert len(blocks) <= n_slices / k + 2 * partition.code
    if n_slices >= k * stride:
        assert partition.code == stride
    else:
        assert k * partition.code <= n_slices < k * (partition.code + 1)


@settings(deadline=None)
@given(cases())
def test_adjacent_blocks_overlap_by_less_than_a_block_at_each_end(
    case: tuple[int, int, int, int],
) -> None:
    n_slices, k, _, offset = case
    partition = make_partition(n_slices, k, 1, offset % offset_count(n_slices, k, 1))
    assert partition.blocks.numel() - n_slices <= 2 * (k - 1)


@settings(deadline=None)
@given(cases())
def test_scatter_undoes_gather(case: tuple[int, int, int, int]) -> None:
    n_slices, k, stride, offset = case
    partition = make_partition(n_slices, k, stride, offset)
    x = torch.arange(n_slices, dtype=torch.float32)[:, None, None] + torch.rand(1, 2, 3)
    gathered = partition.gather(x)
    assert gathered.shape == (len(partition.blocks), k, 2, 3)
    for block, numbers in zip(gathered, partition.blocks.tolist(), strict=True):
        assert torch.equal(block, torch.stack([x[i] for i in numbers]))
    torch.testing.assert_close(partition.scatter(gathered, n_slices), x)


@settings(deadline=None)
@given(cases(), st.integers(1, 40))
def test_slabs_touch_cover_all_and_hold_the_blocks_of_the_partition(
    case: tuple[int, int, int, int], most_blocks: int
) -> None:
    n_slices, k, stride, offset = case
    partition = make_partition(n_slices, k, stride, offset)
    slabs = partition.slabs(most_blocks)
    edges = [0, *(s.slices.stop for s in slabs)]
    assert [s.slices.start for s in slabs] == edges[:-1]
    assert edges[-1] == n_slices
    moved = {
        tuple(int(i) + s.slices.start for i in block) for s in slabs for block in s.partition.blocks
    }
    assert moved == as_sets(partition)
    assert sum(len(s.partition.blocks) for s in slabs) == len(partition.blocks)
    whole = k * partition.code
    for slab in slabs:
        assert slab.partition.code == partition.code
        assert int(slab.partition.blocks.min()) >= 0
        size = slab.slices.stop - slab.slices.start
        assert int(slab.partition.blocks.max()) < size
        assert len(slab.partition.blocks) <= max(most_blocks, 3 * partition.code)
        assert size <= max(most_blocks * k, 3 * whole)


def test_a_volume_of_full_runs_parts_at_every_run() -> None:
    slabs = make_partition(27, 3, 3, 0).slabs(1)
    assert [(s.slices.start, s.slices.stop, len(s.partition.blocks)) for s in slabs] == [
        (0, 9, 3),
        (9, 18, 3),
        (18, 27, 3),
    ]


def test_slices_covered_more_than_once_take_the_mean() -> None:
    partition = Partition(torch.tensor([[0, 1, 2], [1, 2, 3], [2, 3, 4]]), 1)
    blocks = torch.tensor([[1.0, 2, 3], [10, 20, 30], [100, 200, 300]])[:, :, None, None]
    got = partition.scatter(blocks, 5).flatten().tolist()
    assert got == pytest.approx([1, 6, 41, 115, 300])


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_adjacent_blocks_of_the_paper(offset: int) -> None:
    got = as_sets(make_partition(12, 3, 1, offset))
    whole = {(s, s + 1, s + 2) for s in range(offset, 10, 3)}
    ends = {(0, 1, 2), (9, 10, 11)} if offset else set()
    assert got == whole | ends


def test_jump_blocks_of_the_paper() -> None:
    got = as_sets(make_partition(18, 3, 3, 0))
    assert got == {(s + i, s + i + 3, s + i + 6) for s in (0, 9) for i in range(3)}


def test_every_border_between_adjacent_blocks_lies_inside_a_jump_block() -> None:
    jump = make_partition(27, 3, 3, 0).blocks
    for border in (2.5, 5.5, 11.5, 14.5, 20.5, 23.5):
        assert ((jump.amin(1) < border) & (jump.amax(1) > border)).any()


def test_every_possible_offset_is_drawn() -> None:
    adjacent = {int(p.blocks[0, 0]) for p in first(30, 3, 100, kind="adjacent")}
    jump = {int(p.blocks[0, 0]) for p in first(30, 3, 300, kind="jump")}
    assert adjacent == {0, 1, 2}
    assert jump == set(range(9))


def test_every_offset_is_drawn_as_often_where_the_slices_do_not_fill_two_runs() -> None:
    starts = [int(p.blocks[0, 0]) for p in first(14, 3, 3000, kind="jump")]
    counts = [starts.count(i) for i in range(6)]
    assert sum(counts) == 3000
    assert all(abs(count - 500) < 5 * 500**0.5 for count in counts)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, [1, 3, 1, 3, 1, 3]),
        ({"jump_every": 3}, [1, 1, 3, 1, 1, 3]),
        ({"jump_stride": 2}, [1, 2, 1, 2, 1, 2]),
        ({"kind": "adjacent"}, [1] * 6),
        ({"kind": "jump"}, [3] * 6),
        ({"kind": "fixed"}, [1] * 6),
    ],
)
def test_order_of_adjacent_and_jump_steps(changes: dict, codes: list[int]) -> None:
    assert [p.code for p in first(20, 3, 6, **changes)] == codes


def test_fixed_blocks_never_change() -> None:
    partitions = first(20, 3, 10, kind="fixed")
    assert all(torch.equal(p.blocks, make_partition(20, 3, 1, 0).blocks) for p in partitions)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides_the_partitions(kind: str) -> None:
    a, b, other = (first(25, 3, 20, seed, kind=kind) for seed in (1, 1, 2))
    assert all(torch.equal(p.blocks, q.blocks) for p, q in zip(a, b, strict=True))
    same = all(torch.equal(p.blocks, q.blocks) for p, q in zip(a, other, strict=True))
    assert same == (kind == "fixed")


def test_fewer_slices_than_a_block_are_refused() -> None:
    with pytest.raises(InputError, match="2 slices"):
        make_partition(2, 3, 1, 0)
    with pytest.raises(InputError, match="2 slices"):
        first(2, 3, 1)


def test_an_offset_past_the_last_is_refused() -> None:
    with pytest.raises(InputError, match="0 to 2"):
        make_partition(12, 3, 1, 3)


@pytest.mark.parametrize("bad", [{"kind": "random"}, {"jump_stride": 1}, {"jump_every": 0}])
def test_bad_options_are_refused_before_the_first_partition(bad: dict) -> None:
    options = {"kind": "alternating", "jump_stride": 3, "jump_every": 2} | bad
    with pytest.raises(InputError):
        draw_partitions(9, 3, **options, generator=torch.Generator())
