"""What a terminal would obey is shown, not sent."""

from __future__ import annotations

import pytest

from diffusionblend.data.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("chest, 5 µm, ähnlich\n\tnext", "chest, 5 µm, ähnlich\n\tnext"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("a\rb\x00", r"a\rb\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("name\udcff", r"name\udcff"),
    ],
)
def test_control_characters_become_escapes(text, shown):
    assert printable(text) == shown
    printable(text).encode("utf-8")
