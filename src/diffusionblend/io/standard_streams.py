"""The numbers of a process's standard streams, which no other file may take."""

from __future__ import annotations

STANDARD_STREAMS = (0, 1, 2)
"""Input, output and errors."""
