"""3D CT volumes from few or limited-angle X-ray projections, with a diffusion prior.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that
`import diffusionblend` is quick.
"""

from __future__ import annotations

from diffusionblend.public_names import attach

__version__ = "0.1.0"

INNER = ("data", "geometry", "methods", "operators", "priors")
__getattr__, __dir__, __all__ = attach(__name__, __file__, inner=INNER)
__all__ += ["__version__"]
