"""A writer of DICOM-CT-PD by the public dictionary: views of an object given in the format's axes.

A person at the table's end faces the gantry: x to the right, y up, z into the gantry. A source at
angle 0 is at the top and turns counterclockwise; with it there, column 1 is the leftmost and row 1
the farthest. Written from the manual's definitions alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

KINDS = {"FL": "f", "US": "H"}
TAGS = {
    "NumberofDetectorRows": (0x7029, 0x1010, "US"),
    "NumberofDetectorColumns": (0x7029, 0x1011, "US"),
    "DetectorElementTransverseSpacing": (0x7029, 0x1002, "FL"),
    "DetectorElementAxialSpacing": (0x7029, 0x1006, "FL"),
    "DetectorShape": (0x7029, 0x100B, "CS"),
    "DetectorFocalCenterAngularPosition": (0x7031, 0x1001, "FL"),
    "DetectorFocalCenterAxialPosition": (0x7031, 0x1002, "FL"),
    "DetectorFocalCenterRadialDistance": (0x7031, 0x1003, "FL"),
    "ConstantRadialDistance": (0x7031, 0x1031, "FL"),
    "DetectorCentralElement": (0x7031, 0x1033, "FL"),
    "SourceAngularPositionShift": (0x7033, 0x100B, "FL"),
    "SourceAxialPositionShift": (0x7033, 0x100C, "FL"),
    "SourceRadialDistanceShift": (0x7033, 0x100D, "FL"),
    "FlyingFocalSpotMode": (0x7033, 0x100E, "CS"),
    "SpectrumIndex": (0x7033, 0x1063, "US"),
    "PhotonStatistics": (0x7033, 0x1065, "FL"),
    "TypeofProjectionData": (0x7037, 0x1009, "CS"),
    "TypeofProjectionGeometry": (0x7037, 0x100A, "CS"),
    "LogFlag": (0x7039, 0x1009, "CS"),
    "WaterAttenuationCoefficient": (0x7041, 0x1001, "DS"),
}


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """A helical scan: lengths in mm, angles in rad, in the format's axes."""

    views: int = 150
    views_per_turn: int = 60
    feed_mm: float = 18.0
    first_height_mm: float = 100.0
    first_angle: float = 0.6
    n_rows: int = 10
    n_columns: int = 44
    column_mm: float = 2.8
    row_mm: float = 3.6
    to_axis_mm: float = 220.0
    to_detector_mm: float = 360.0
    centre: tuple[float, float] = (22.625, 5.5)
    spots: tuple[tuple[float, float, float], ...] = ((3e-4, 0.0, 0.0),)
    """Shifts in angle, height and distance that the focal spot takes in turn."""
    cylinder: bool = True
    position: str = "HFS"
    photons: np.ndarray = field(default_factory=lambda: np.linspace(2e4, 9e4, 44))

    def angle(self, view: int) -> float:
        return self.first_angle + 2 * np.pi * view / self.views_per_turn

    def height(self, view: int) -> float:
        return self.first_height_mm + self.feed_mm * view / self.views_per_turn

    def rays(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """The focal spot (3,) and the middles of all elements (row, column, 3)."""
        shift = self.spots[view % len(self.spots)]
        angle, height = self.angle(view), self.height(view)
        centre, spot = (
            np.array((-r * np.sin(a), r * np.cos(a), z))
            for r, a, z in (
                (self.to_axis_mm, angle, height),
                (self.to_axis_mm + shift[2], angle + shift[0], height + shift[1]),
            )
        )
        inwards = np.array((np.sin(angle), -np.cos(angle), 0.0))
        rightwards = np.array((np.cos(angle), np.sin(angle), 0.0))  # of the view from the table
        aside = (np.arange(1, self.n_columns + 1) - self.centre[0]) * self.column_mm
        across = aside[:, None] * rightwards + self.to_detector_mm * inwards
        if self.cylinder:
            turned = (aside / self.to_detector_mm)[:, None]
            across = self.to_detector_mm * (np.sin(turned) * rightwards + np.cos(turned) * inwards)
        down = -(np.arange(1, self.n_rows + 1) - self.centre[1]) * self.row_mm
        places = centre + across[None] + down[:, None, None] * np.array((0.0, 0.0, 1.0))
        return spot, places


def write_scan(
    folder: Path,
    scanner: Scanner,
    ball,
    *,
    implicit: bool = False,
    transposed: bool = False,
    names: np.random.Generator | None = None,
    views: range | None = None,
    changed: dict[str, object] | None = None,
    tags: dict[str, object] | None = None,
) -> Path:
    """The files of a scan of a ball, their names in another order than the views.

    views: only these. changed: values of private tags in the last view, None leaves one out. tags:
    of all views, private by their names in TAGS, others by pydicom's.
    """
    folder.mkdir(exist_ok=True)
    series = generate_uid()
    chosen = views if views is not None else range(scanner.views)
    order = (names or np.random.default_rng(1)).permutation(scanner.views)
    for view in chosen:
        spot, places = scanner.rays(view)
        lines = ball.line_integrals(np.broadcast_to(spot, places.shape), places - spot)
        more = (changed or {}) if view == chosen[-1] else {}
        dataset = _dataset(scanner, view, lines.T if transposed else lines, series)
        _private(dataset, scanner, view, (tags or {}) | more, implicit=implicit)
        for name, value in ((tags or {}) | more).items():
            if name not in TAGS:
                setattr(dataset, name, value)
        dataset.save_as(folder / f"{order[view]:05d}.dcm", enforce_file_format=True)
    return folder


def _dataset(scanner: Scanner, view: int, lines: np.ndarray, series: str) -> Dataset:
    """The part of a file that all DICOM images have."""
    slope = 8.0 / 65535
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = series, "CT"
    dataset.Manufacturer, dataset.PatientPosition = "Test", scanner.position
    dataset.InstanceNumber = view + 1
    dataset.Rows, dataset.Columns = lines.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.9g}", "-0.5"
    words = np.round((lines + 0.5) / slope).clip(0, 65535).astype("<u2")
    dataset.PixelData = words.tobytes()
    return dataset


def _private(
    dataset: Dataset, scanner: Scanner, view: int, more: dict[str, object], *, implicit: bool
) -> None:
    """The private tags, with their types or, implicit, as bytes alone."""
    shift = scanner.spots[view % len(scanner.spots)]
    values = {
        "NumberofDetectorRows": scanner.n_rows,
        "NumberofDetectorColumns": scanner.n_columns,
        "DetectorElementTransverseSpacing": scanner.column_mm,
        "DetectorElementAxialSpacing": scanner.row_mm,
        "DetectorShape": "CYLINDRICAL" if scanner.cylinder else "FLAT",
        "DetectorFocalCenterAngularPosition": scanner.angle(view) % (2 * np.pi),
        "DetectorFocalCenterAxialPosition": round(scanner.height(view), 2),
        "DetectorFocalCenterRadialDistance": scanner.to_axis_mm,
        "ConstantRadialDistance": scanner.to_detector_mm,
        "DetectorCentralElement": list(scanner.centre),
        "SourceAngularPositionShift": shift[0],
        "SourceAxialPositionShift": shift[1],
        "SourceRadialDistanceShift": shift[2],
        "FlyingFocalSpotMode": "FFSNONE" if len(scanner.spots) == 1 else "FFSXYZ",
        "PhotonStatistics": list(scanner.photons * (1 + view % 3)),
        "TypeofProjectionData": "HELICAL",
        "TypeofProjectionGeometry": "FANBEAM",
        "LogFlag": "YES",
        "WaterAttenuationCoefficient": 0.02,
    } | more
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for name, (group, element, kind) in TAGS.items():
        value = values.get(name)
        if value is None:
            continue
        if implicit:
            kind, value = "UN", _bytes(kind, value)
        dataset.add_new((group, element), kind, value)


def _bytes(kind: str, value) -> bytes:
    """A value as an implicit file holds it."""
    if kind in KINDS:
        values = value if isinstance(value, list) else [value]
        return struct.pack(f"<{len(values)}{KINDS[kind]}", *values)
    text = str(value)
    return (text + " " * (len(text) % 2)).encode()
