"""3D CT volumes from few or limited-angle X-ray projections, with a diffusion prior.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that
`import diffusionblend` is quick.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
