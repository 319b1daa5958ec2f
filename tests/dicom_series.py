"""Small synthetic DICOM series for tests, written by pydicom, header by header as told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES_UID = "1.2.826.0.1.3680043.8.498.1"
INTERCEPT_HU = -1024


def hu_pattern(n_slices: int = 6, rows: int = 8, columns: int = 10) -> np.ndarray:
    """HU (z, y, x) that differ in every voxel, so that any flip or swap shows."""
    count = n_slices * rows * columns
    return (np.arange(count) * 13 % 2501 - 1000).reshape(n_slices, rows, columns).astype(float)


def slice_dataset(hu: np.ndarray, z_mm: float, number: int = 1) -> Dataset:
    """One CT slice (row, column) in HU at height z, upright, 0.5 x 0.75 mm pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    dataset.SeriesInstanceUID = SERIES_UID
    dataset.PatientName = "Secret^Name"
    dataset.PatientID = "SECRET-ID"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer = "Maker"
    dataset.ConvolutionKernel = "B30f"
    dataset.KVP = "120"
    dataset.SliceThickness = "2"
    dataset.InstanceNumber = number
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-10.0, -20.0, z_mm]
    dataset.PixelSpacing = [0.5, 0.75]
    dataset.Rows, dataset.Columns = hu.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, INTERCEPT_HU
    dataset.PixelData = np.round(hu - INTERCEPT_HU).astype("<i2").tobytes()
    return dataset


def write_series(
    folder: Path,
    hu: np.ndarray | None = None,
    *,
    heights_mm: list[float] | None = None,
    change: Callable[[int, Dataset], Dataset | None] = lambda i, dataset: None,
) -> list[Path]:
    """Write a series, slice i of `hu` at `heights_mm[i]` (else 2 mm apart) as `i.dcm`.

    `change(i, dataset)` alters a slice before it is written.
    """
    hu = hu_pattern() if hu is None else hu
    heights_mm = [2.0 * i for i in range(len(hu))] if heights_mm is None else heights_mm
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, (values, z_mm) in enumerate(zip(hu, heights_mm, strict=True)):
        dataset = slice_dataset(values, z_mm, i + 1)
        change(i, dataset)
        paths.append(folder / f"{i}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths
