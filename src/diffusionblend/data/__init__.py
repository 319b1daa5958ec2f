"""Values that hold arrays: volumes, projections, raw scans, reconstructions.

The public names are those of `__init__.pyi`, imported when first used.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
