"""What is kept for the next run: read again as it was written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffusionblend.errors import OutputWriteError
from diffusionblend.io.user_cache import cache_folder, keep, kept

MADE_OF = {"weights": "abc", "settings": 1}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "a.graph"
    keep(path, MADE_OF, [b"one\n\n", b"", b"three"])
    return path


def test_parts_come_back_as_they_were(path):
    assert kept(path, MADE_OF) == ([b"one\n\n", b"", b"three"], "")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_was_made_of_something_else_is_reported(path):
    assert kept(path, {"weights": "abc", "settings": 2}) == (
        None,
        "was made with another settings",
    )
    assert kept(path, {"weights": "abd", "settings": 1})[1] == "was made with another weights"


def test_a_changed_byte_anywhere_is_seen(path):
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        parts, reason = kept(path, MADE_OF)
        assert parts is None and reason, i


def test_a_file_cut_short_anywhere_is_seen(path):
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i])
        parts, reason = kept(path, MADE_OF)
        assert parts is None and reason == "is damaged", i


def test_no_file_is_no_damage(tmp_path):
    assert kept(tmp_path / "none", MADE_OF) == (None, "")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputWriteError):
        keep(tmp_path / "file" / "a", MADE_OF, [b""])


def test_the_folder_is_the_users_or_the_one_that_is_named(monkeypatch):
    monkeypatch.delenv("DIFFUSIONBLEND_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "diffusionblend"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/diffusionblend")
    monkeypatch.setenv("DIFFUSIONBLEND_CACHE", "/here")
    assert cache_folder() == Path("/here")
