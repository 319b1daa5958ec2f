"""How work is dealt to processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diffusionblend.ranks import Ranks, local_rank, rank_and_count


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 8))
def test_neighbouring_items_go_to_the_ranks_in_order_and_evenly(weights, count):
    items = list(range(len(weights)))
    shares = Ranks(0, count).share(items, weights)
    assert len(shares) == count
    assert [i for share in shares for i in share] == items
    fair = sum(weights) / count
    for share in shares:
        assert sum(weights[i] for i in share) <= fair + max(weights)


def test_a_process_is_alone_unless_torchrun_says_otherwise(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_count() == (0, 1)
    assert local_rank() is None
    assert Ranks.started() == Ranks()
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank_and_count() == (5, 8)
    assert local_rank() == 1
