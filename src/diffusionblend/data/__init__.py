"""Values that hold arrays: volumes, projections, raw scans, reconstructions.

The public names are those of `__init__.pyi`, imported when first used.
"""

from __future__ import annotations

from diffusionblend.public_names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
