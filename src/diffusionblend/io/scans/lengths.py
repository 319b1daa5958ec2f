"""Units of length as files of the field spell them."""

from __future__ import annotations

import unicodedata

MM_PER_UNIT = {
    1e3: ("m", "meter", "meters", "metre", "metres"),
    10.0: ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    1.0: ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    1e-3: (
        *("um", "\u03bcm", "micron", "microns", "micrometer", "micrometers"),
        *("micrometre", "micrometres", "mu m", "mum"),
    ),
    1e-6: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    1e-7: ("angstrom", "angstroms", "\u00e5"),
}
"""Millimetres, and the names of the unit that is so long; the micro sign in its normal form."""


def mm_per_unit(name: str) -> float | None:
    """Millimetres in a unit, by its name; None for a name that is not known."""
    plain = unicodedata.normalize("NFKC", name).strip().rstrip(".").casefold()
    return next((mm for mm, names in MM_PER_UNIT.items() if plain in names), None)
