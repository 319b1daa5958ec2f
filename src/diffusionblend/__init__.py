"""3D CT volumes from few or limited-angle X-ray projections, with a diffusion prior."""

__version__ = "0.1.0"
