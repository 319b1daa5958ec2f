"""Work over the threads that torch may use."""

from __future__ import annotations

import threading

import pytest
import torch

from diffusionblend.operators.kernels.threads import side_by_side


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("items", "each"), [(1, 3), (2, 1), (3, 1), (5, 1)])
def test_calls_run_at_once_with_their_share_of_the_threads(
    three_threads, items: int, each: int
) -> None:
    at_once = threading.Barrier(min(items, 3))

    def call(item: int) -> tuple[int, int, bool]:
        if item < at_once.parties:  # waits for the others: breaks if they ran one after another
            at_once.wait(timeout=20)
        return item, torch.get_num_threads(), torch.is_grad_enabled()

    found = side_by_side(call, range(items))
    assert [item for item, _, _ in found] == list(range(items))
    assert {threads for _, threads, _ in found} == {each}
    assert torch.get_num_threads() == 3
    if items > 1:
        assert not any(grad for _, _, grad in found)


def test_a_thread_s_error_is_the_caller_s_and_the_threads_are_back(three_threads) -> None:
    def call(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        side_by_side(call, range(2))
    assert torch.get_num_threads() == 3
    after = []
    later = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert after == [3]
