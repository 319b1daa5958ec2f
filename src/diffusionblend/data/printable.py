"""Text of files as a terminal may show it."""

from __future__ import annotations

KEPT = "\n\t"


def printable(text: str) -> str:
    r"""The text with whatever is no printable character written as an escape, such as \x1b.

    A terminal obeys some of those; they have no business in a name or a tag. Line breaks and tabs
    stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in KEPT else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
