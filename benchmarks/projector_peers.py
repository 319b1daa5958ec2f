"""Projectors of other packages behind one interface, and ours: what `projectors.py` times.

The peers come with the dependency group `peers` and are imported here only. Both take part with
Joseph's method, as ours: itk-rtk's (Apache 2.0) on several threads, ASTRA's `linear` (GPL 3), whose
CPU code runs on one. itk-rtk's voxel-driven back-projector is no adjoint of anything, but its
fastest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from diffusionblend.geometry import ConeBeam, Helix, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform

OURS = "diffusionblend"
RTK, RTK_VOXELS, ASTRA = "itk-rtk", "itk-rtk, voxel-driven back", "ASTRA, one thread"
FAR_MM = 1000.0
"""Where itk-rtk puts the source of a parallel beam; it means nothing."""


class Contender(ABC):
    """A projector with arrays of its own layout, so that no conversion is timed."""

    name: str

    @abstractmethod
    def volume_in(self, volume: np.ndarray) -> Any:
        """A volume (z, y, x) float32 in its layout."""

    @abstractmethod
    def lines_in(self, lines: np.ndarray) -> Any:
        """Lines (view, row, column) float32 in its layout."""

    @abstractmethod
    def volume_out(self, volume: Any) -> np.ndarray:
        """Its volume as (z, y, x)."""

    @abstractmethod
    def lines_out(self, lines: Any) -> np.ndarray:
        """Its lines as (view, row, column)."""

    @abstractmethod
    def forward(self, volume: Any) -> Any:
        """Project."""

    @abstractmethod
    def back(self, lines: Any) -> Any:
        """Back-project."""


class Ours(Contender):
    """An operator of this package."""

    def __init__(
        self, geometry: ParallelBeam | ConeBeam | Helix, grid: Grid, storage: str | None = None
    ) -> None:
        self.operator = XRayTransform(geometry, grid, storage=storage)
        self.name = f"{OURS}, {self.operator.storage}"

    def volume_in(self, volume: np.ndarray) -> torch.Tensor:
        """As a tensor."""
        return torch.from_numpy(volume)

    lines_in = volume_in

    def volume_out(self, volume: torch.Tensor) -> np.ndarray:
        """As an array."""
        return volume.numpy()

    lines_out = volume_out

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """A x."""
        return self.operator.forward(volume)

    def back(self, lines: torch.Tensor) -> torch.Tensor:
        """A* y."""
        return self.operator.adjoint(lines)


class Rtk(Contender):
    """itk-rtk's Joseph forward projection with its adjoint, or with its voxel-driven one.

    It turns about its y axis: its (x, y, z) is our (x, z, -y).
    """

    def __init__(
        self,
        geometry: ParallelBeam | ConeBeam | Helix,
        grid: Grid,
        threads: int,
        *,
        voxels: bool = False,
    ) -> None:
        import itk

        rtk, image = itk.RTK, itk.Image[itk.F, 3]
        self.name, self.itk = RTK_VOXELS if voxels else RTK, itk
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
        kind = rtk.BackProjectionImageFilter if voxels else rtk.JosephBackProjectionImageFilter
        self.projector = rtk.JosephForwardProjectionImageFilter[image, image]
        self.back_projector = kind[image, image]
        self.views = rtk.ThreeDCircularProjectionGeometry.New()
        cone = geometry.couples_slices
        source_mm = geometry.source_to_axis_mm if cone else FAR_MM
        detector_mm = geometry.source_to_detector_mm if cone else 0.0
        heights = geometry.heights_mm if isinstance(geometry, Helix) else np.zeros(geometry.n_views)
        for angle, z in zip(geometry.angles_rad, heights, strict=True):
            # offsets along x and y of the panel, its tilts, and offsets of the source
            self.views.AddProjection(
                source_mm, detector_mm, math.degrees(angle), 0.0, float(z), 0.0, 0.0, 0.0, float(z)
            )
        z_mm, y_mm, x_mm = grid.spacing_mm
        self.voxel_mm = (y_mm, z_mm, x_mm)
        rows = geometry.n_rows if cone else grid.shape[0]
        self.pixel_mm = (1.0, geometry.row_mm if cone else z_mm, geometry.column_mm)
        n_z, n_y, n_x = grid.shape
        self.empty_volume = self._image(np.zeros((n_y, n_z, n_x), np.float32), self.voxel_mm)
        lines = np.zeros((geometry.n_views, rows, geometry.n_columns), np.float32)
        self.empty_lines = self._image(lines, self.pixel_mm)

    def _image(self, values: np.ndarray, spacing_mm: tuple[float, ...]) -> Any:
        """An image about the origin, that shares the array."""
        image = self.itk.image_view_from_array(np.ascontiguousarray(values))
        image.SetSpacing(spacing_mm[::-1])
        sizes = zip(values.shape[::-1], spacing_mm[::-1], strict=True)
        image.SetOrigin([-(n - 1) / 2 * step for n, step in sizes])
        return image

    def volume_in(self, volume: np.ndarray) -> Any:
        """Slices along the second axis, rows downwards."""
        return self._image(volume.transpose(1, 0, 2)[::-1], self.voxel_mm)

    def lines_in(self, lines: np.ndarray) -> Any:
        """The same axes."""
        return self._image(lines, self.pixel_mm)

    def volume_out(self, volume: Any) -> np.ndarray:
        """Back to (z, y, x)."""
        return self.itk.array_from_image(volume)[::-1].transpose(1, 0, 2)

    def lines_out(self, lines: Any) -> np.ndarray:
        """The same axes."""
        return self.itk.array_from_image(lines)

    def forward(self, volume: Any) -> Any:
        """By Joseph's method."""
        return self._run(self.projector, self.empty_lines, volume)

    def back(self, lines: Any) -> Any:
        """By the adjoint, or voxel by voxel."""
        return self._run(self.back_projector, self.empty_volume, lines)

    def _run(self, kind: Any, onto: Any, source: Any) -> Any:
        run = kind.New()
        run.SetGeometry(self.views)
        run.SetInput(0, onto)
        run.SetInput(1, source)
        run.SetInPlace(False)
        run.Update()
        return run.GetOutput()


class Astra(Contender):
    """ASTRA's `linear` projector on the CPU, slice by slice; its lines are (slice, view, column).

    Its y axis points upwards, so that parallel angles change sign.
    """

    name = ASTRA

    def __init__(self, geometry: ParallelBeam, grid: Grid) -> None:
        import astra

        self.astra, self.shape = astra, grid.shape
        pixel_mm = grid.spacing_mm[2]
        angles = -np.array(geometry.angles_rad)
        columns = (geometry.column_mm / pixel_mm, geometry.n_columns)
        self.scale = pixel_mm
        self.lines = astra.create_proj_geom("parallel", *columns, angles)
        self.slice = astra.create_vol_geom(*grid.in_plane_shape)
        self.projector = astra.create_projector("linear", self.lines, self.slice)
        self.lines_shape = (grid.shape[0], geometry.n_views, geometry.n_columns)

    def volume_in(self, volume: np.ndarray) -> np.ndarray:
        """As it is."""
        return volume

    def lines_in(self, lines: np.ndarray) -> np.ndarray:
        """Slices first, in pixels."""
        return np.ascontiguousarray(lines.transpose(1, 0, 2)) * np.float32(self.scale)

    def volume_out(self, volume: np.ndarray) -> np.ndarray:
        """As it is."""
        return volume

    def lines_out(self, lines: np.ndarray) -> np.ndarray:
        """Views first, in mm."""
        return lines.transpose(1, 0, 2) * np.float32(self.scale)

    def forward(self, volume: np.ndarray) -> np.ndarray:
        """Every slice by an algorithm of its own, on linked memory."""
        lines = np.zeros(self.lines_shape, np.float32)
        self._run("FP", volume, lines)
        return lines

    def back(self, lines: np.ndarray) -> np.ndarray:
        """As forward."""
        volume = np.zeros(self.shape, np.float32)
        self._run("BP", volume, lines)
        return volume

    def _run(self, kind: str, volume: np.ndarray, lines: np.ndarray) -> None:
        astra = self.astra
        for pixels, sinogram in zip(volume, lines, strict=True):
            image = astra.data2d.link("-vol", self.slice, pixels)
            measured = astra.data2d.link("-sino", self.lines, sinogram)
            options = astra.astra_dict(kind)
            options["ProjectorId"], options["ProjectionDataId"] = self.projector, measured
            options["VolumeDataId" if kind == "FP" else "ReconstructionDataId"] = image
            algorithm = astra.algorithm.create(options)
            astra.algorithm.run(algorithm)
            astra.algorithm.delete(algorithm)
            astra.data2d.delete([image, measured])


def installed_peers() -> list[str]:
    """Which of the two can be imported."""
    return [name for name, module in ((RTK, "itk"), (ASTRA, "astra")) if find_spec(module)]


def peers_of(
    geometry: ParallelBeam | ConeBeam | Helix, grid: Grid, threads: int
) -> list[Contender]:
    """The peers that are installed and know the geometry."""
    found: list[Contender] = []
    installed = installed_peers()
    if RTK in installed:
        found += [Rtk(geometry, grid, threads, voxels=voxels) for voxels in (False, True)]
    if ASTRA in installed and not geometry.couples_slices:
        found.append(Astra(geometry, grid))
    return found
