"""Diffusion priors: noise schedule, network, partitions, prior types; they know no operator.

The public names are those of `__init__.pyi`, imported when first used.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
