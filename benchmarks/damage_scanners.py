"""A small scan as each scanner writes it, for damage; the makers write into an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ct_pd_files import Scanner, write_scan
from ole_files import write_ole

VIEWS = 3


class Lump:
    """An object whose line integrals are a smooth lump over the detector."""

    def line_integrals(self, points_mm: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """By the rays' directions alone, of the shape of the rays."""
        return np.exp(-((directions[..., 0] / 20) ** 2))


def write_ct_pd(home: Path) -> Path:
    """A folder of views as DICOM-CT-PD."""
    scanner = Scanner(views=VIEWS, n_rows=4, n_columns=12, photons=np.full(12, 1e4))
    return write_scan(home / "views", scanner, Lump(), implicit=True)


def write_frames(home: Path, prefix: str, shape: tuple[int, int] = (6, 8)) -> None:
    """A frame of 16 bits for every view."""
    for view in range(VIEWS):
        frame = (40_000 - 100 * np.arange(np.prod(shape))).reshape(shape).astype(np.uint16)
        sitk.WriteImage(sitk.GetImageFromArray(frame + view), str(home / f"{prefix}{view:04d}.tif"))


def write_nikon(home: Path) -> Path:
    """A header with its frames."""
    write_frames(home, "ball_")
    values = {
        "InputName": "ball_",
        "Projections": VIEWS,
        "DetectorPixelsX": 8,
        "DetectorPixelsY": 6,
        "DetectorPixelSizeX": 0.2,
        "DetectorPixelSizeY": 0.2,
        "SrcToObject": 90,
        "SrcToDetector": 400,
        "InitialAngle": 0,
        "AngularStep": 120,
        "WhiteLevel": 60000,
    }
    return _header(home / "ball.xtekct", "[XTekCT]", values)


def write_skyscan(home: Path) -> Path:
    """A log with its frames."""
    write_frames(home, "ball")
    values = {
        "Filename Prefix": "ball",
        "Number of Files": VIEWS,
        "Number of Rows": 6,
        "Number of Columns": 8,
        "Image Pixel Size (um)": 20,
        "Object to Source (mm)": 50,
        "Camera to Source (mm)": 270,
        "Rotation Step (deg)": 120,
        "Depth (bits)": 16,
        "Optical Axis (line)": 2,
        "Flat Field Correction": "ON",
    }
    return _header(home / "ball.log", "[Acquisition]", values)


def _header(path: Path, section: str, values: dict[str, object]) -> Path:
    """A text header."""
    lines = [section, *(f"{name}={value}" for name, value in values.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_walnut(home: Path) -> Path:
    """A folder of frames with their vectors, flat and dark."""
    folder = home / "tubeV1"
    folder.mkdir()
    for prefix in ("scan_", "io", "di"):
        write_frames(folder, prefix)
    angles = 2 * np.pi * np.arange(VIEWS) / VIEWS
    c, s, zero = np.cos(angles), np.sin(angles), np.zeros(VIEWS)
    columns = [66 * s, -66 * c, zero, -133 * s, 133 * c, zero, c / 2, s / 2, zero, zero, zero, zero]
    vectors = np.stack(columns, axis=1)
    vectors[:, 11] = 0.5
    np.savetxt(folder / "scan_geom_corrected.geom", vectors)
    return folder


def write_zeiss(home: Path) -> Path:
    """An OLE file with a stream for every view."""
    whole = {"NoOfImages": VIEWS, "ImagesTaken": VIEWS, "ImageHeight": 6, "ImageWidth": 8}
    whole |= {"DataType": 5, "XrayGeometry": 1}
    lengths = {
        "PixelSize": [20.0],
        "StoRADistance": [-50.0] * VIEWS,
        "DtoRADistance": [90.0] * VIEWS,
    }
    lengths["Angles"] = [120.0 * view for view in range(VIEWS)]
    streams = {f"ImageInfo/{name}": np.int32(value).tobytes() for name, value in whole.items()}
    streams |= {f"ImageInfo/{name}": np.float32(v).tobytes() for name, v in lengths.items()}
    streams["Alignment/X-Shifts"] = np.zeros(VIEWS, np.float32).tobytes()
    streams["ReferenceData/DataType"] = np.int32(10).tobytes()
    streams["ReferenceData/Image"] = np.full((6, 8), 6e4, np.float32).tobytes()
    for view in range(VIEWS):
        frame = (40_000 - 100 * np.arange(48) + view).astype(np.uint16)
        streams[f"ImageData1/Image{view + 1}"] = frame.tobytes()
    return write_ole(home / "ball.txrm", streams)


SCANNERS: dict[str, Callable[[Path], Path]] = {
    "ct-pd": write_ct_pd,
    "nikon": write_nikon,
    "skyscan": write_skyscan,
    "zeiss": write_zeiss,
    "walnut": write_walnut,
}
