"""3D CT volumes from few or limited-angle X-ray projections, with a diffusion prior.

The names below are imported when first used, so that `import diffusionblend` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AdmmTv": "methods",
    "Cgls": "methods",
    "ConeBeam": "geometry",
    "Dds": "methods",
    "Dds2d": "methods",
    "DiffusionBlend": "methods",
    "DiffusionBlendPP": "methods",
    "DiffusionMbir": "methods",
    "Ensemble": "data.result",
    "Execution": "methods.base",
    "FanBeam": "geometry",
    "Fbp": "methods",
    "FbpUnet": "methods",
    "Grid": "geometry.grid",
    "InputError": "errors",
    "Method": "methods.base",
    "ParallelBeam": "geometry",
    "PrepareSettings": "preprocessing.settings",
    "Projections": "data.projections",
    "RawScan": "data.raw_scan",
    "ReadOptions": "io.scans.options",
    "Reconstruction": "data.result",
    "Sirt": "methods",
    "Tpdm": "methods",
    "VectorGeometry": "geometry",
    "Volume": "data.volume",
    "XRayTransform": "operators",
    "downsample_in_plane": "data.volume",
    "equally_spaced_angles": "geometry",
    "evaluate_volume": "evaluation.metrics",
    "load_prior": "priors.prior",
    "make_method": "methods.api",
    "prepare_scan": "preprocessing.prepare",
    "read_projections": "io.projections",
    "read_raw_scan": "io.scans.registry",
    "read_volume": "io.volumes",
    "reconstruct": "methods.api",
    "sample": "methods.api",
    "simulate": "simulation",
    "steps": "methods.api",
    "synthetic_chest": "phantom",
    "write_dicom_series": "io.dicom.write",
    "write_projections": "io.projections",
    "write_volume": "io.volumes",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'diffusionblend' has no attribute {name!r}")
    return getattr(import_module(f"diffusionblend.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
