"""A small file or folder of every format that the program reads, and what reads it."""

from __future__ import annotations

import locale
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from damage_scanners import SCANNERS
from diffusionblend import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    VectorGeometry,
    Volume,
    load_prior,
    read_projections,
    read_raw_scan,
    read_volume,
    simulate,
    synthetic_chest,
    write_projections,
    write_volume,
)
from diffusionblend.io.dicom.write import write_dicom_series
from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.tiff_stack import write_tiff_stack
from diffusionblend.runs.record import RunRecord, read_run_record
from diffusionblend.runs.state_file import read_state, write_state

SHAPE, VIEWS = (4, 16, 16), 6
IDENTITY = {"seed": 0}
GEOMETRIES = ("parallel", "fan", "cone", "vectors")


@dataclass(frozen=True)
class Format:
    """A file or folder of a format, and what reads it; `beside`, files that it needs."""

    path: Path
    read: Callable[[Path], object]
    beside: tuple[Path, ...] = ()


def formats_in(folder: Path, names: tuple[str, ...] = ()) -> dict[str, Format]:
    """A small file or folder of every format, or of those named, made in a folder."""
    chest = synthetic_chest(1, shape=SHAPE)
    made: dict[str, Format] = {}
    for name in names or MAKERS:
        home = folder / name.replace(".", "_")
        home.mkdir()
        made[name] = MAKERS[name](home, chest)
    return made


def _volume_file(suffix: str, home: Path, chest: Volume) -> Format:
    path = home / f"volume{suffix}"
    write_volume(chest, path)
    return Format(path, _volume)


def _volume(path: Path) -> object:
    return read_volume(path, check=False).values


def _packed(suffix: str, home: Path, chest: Volume) -> Format:
    """As other programs write it: packed, or in two files."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(chest.values.astype(np.int16))
    path = home / f"volume{suffix}"
    sitk.WriteImage(image, str(path), useCompression="packed" in home.name)
    two = suffix in (".mhd", ".nhdr")
    beside = tuple(p for p in home.iterdir() if p != path) if two else ()
    return Format(path, _volume, beside)


def _dicom(syntax: str, home: Path, chest: Volume) -> Format:
    import pydicom
    from pydicom import uid

    write_dicom_series(chest, home / "series")
    for path in (home / "series").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Manufacturer = "Maker"
        if syntax == "rle":
            dataset.compress(uid.RLELossless)
        if syntax == "deflated":
            dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
        if syntax == "jpeg2000":
            _as_jpeg_2000(path)
        else:
            dataset.save_as(path)
    return Format(home / "series", _volume)


def _as_jpeg_2000(path: Path) -> None:
    import SimpleITK as sitk

    before = locale.setlocale(locale.LC_ALL)
    image = sitk.ReadImage(str(path), sitk.sitkInt16)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.KeepOriginalImageUIDOn()
    writer.SetCompressor("JPEG2000")
    writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)  # which this writer sets to C


def _tiff_stack(home: Path, chest: Volume) -> Format:
    write_tiff_stack(chest, home / "stack")
    return Format(home / "stack", _volume)


def _projections(kind: str, home: Path, chest: Volume) -> Format:
    write_projections(_scan(kind, chest), home / "own.h5")
    return Format(home / "own.h5", lambda path: read_projections(path).values)


def _scan(kind: str, chest: Volume):
    tube = {"source_to_axis_mm": 400.0, "source_to_detector_mm": 550.0}
    if kind == "parallel":
        return simulate(chest, ParallelBeam.fitting(chest.grid, VIEWS))
    if kind == "fan":
        return simulate(chest, FanBeam.fitting(chest.grid, VIEWS, **tube))
    cone = ConeBeam.fitting(chest.grid, VIEWS, **tube)
    found = cone if kind == "cone" else cone.to_vectors()
    assert kind == "cone" or isinstance(found, VectorGeometry)
    return simulate(chest, found)


def _raw(write: Callable[[Path, np.ndarray], Path], home: Path, chest: Volume) -> Format:
    """A measured scan: line integrals, counts where its format has flats."""
    lines = _scan("parallel", chest).values
    return Format(write(home, lines), _read_raw)


def _read_raw(path: Path) -> object:
    options = ReadOptions(arc_degrees=180.0, values="lines")
    return read_raw_scan(path, options).data


def _matlab(home: Path, lines: np.ndarray) -> Path:
    from scipy.io import savemat

    angles = np.linspace(0, 360, len(lines), endpoint=False)
    lengths = {"distanceSourceOrigin": 400.0, "distanceSourceDetector": 550.0}
    parameters = {"angles": angles, "pixelSizePost": 0.2, "distanceUnit": "mm", **lengths}
    sinogram = lines[:, 0].astype(np.float64)
    savemat(home / "scan.mat", {"CtDataFull": {"sinogram": sinogram, "parameters": parameters}})
    return home / "scan.mat"


def _data_exchange(home: Path, lines: np.ndarray) -> Path:
    import h5py

    with h5py.File(home / "scan.h5", "w") as file:
        file["exchange/data"] = lines
        file["exchange/theta"] = np.linspace(0, 180, len(lines), endpoint=False)
        file["exchange/theta"].attrs["units"] = "degrees"
    return home / "scan.h5"


def _nexus(home: Path, lines: np.ndarray) -> Path:
    import h5py

    with h5py.File(home / "scan.nxs", "w") as file:
        counts = np.concatenate([np.full((2, *lines.shape[1:]), 1e4), 1e4 * np.exp(-lines)])
        detector = file.create_group("entry1/tomo_entry/instrument/detector")
        detector["data"] = counts.astype(np.uint16)
        detector["image_key"] = [1, 1, *[0] * len(lines)]
        detector["x_pixel_size"] = 1.0
        detector["x_pixel_size"].attrs["units"] = "mm"
        detector["y_pixel_size"] = 1.0
        angles = [0, 0, *np.linspace(0, 180, len(lines), endpoint=False)]
        file["entry1/tomo_entry/sample/rotation_angle"] = angles
        file["entry1/tomo_entry/definition"] = "NXtomo"
    return home / "scan.nxs"


def _tiff(home: Path, lines: np.ndarray, **options: object) -> Path:
    import tifffile

    tifffile.imwrite(home / "scan.tif", lines, **options)
    return home / "scan.tif"


def _tiff_frames(home: Path, lines: np.ndarray) -> Path:
    import tifffile

    (home / "frames").mkdir()
    for i, frame in enumerate(lines):
        tifffile.imwrite(home / "frames" / f"view_{i:03d}.tif", frame)
    return home / "frames"


def _npy(home: Path, lines: np.ndarray) -> Path:
    np.save(home / "scan.npy", lines)
    return home / "scan.npy"


def _npz(home: Path, lines: np.ndarray) -> Path:
    angles = np.linspace(0, 180, len(lines), endpoint=False)
    np.savez_compressed(home / "scan.npz", data=lines, angles_degrees=angles)
    return home / "scan.npz"


def _rtk(home: Path, chest: Volume) -> Format:
    """Projections and the geometry, both damaged."""
    import SimpleITK as sitk

    (home / "rtk").mkdir()
    lines = _scan("cone", chest).values
    sitk.WriteImage(sitk.GetImageFromArray(lines), str(home / "rtk" / "scan.mha"))
    views = "".join(
        f"<Projection><GantryAngle>{360 * i / VIEWS}</GantryAngle></Projection>"
        for i in range(VIEWS)
    )
    (home / "rtk" / "scan.xml").write_text(
        '<?xml version="1.0"?><!DOCTYPE RTKGEOMETRY>\n<RTKThreeDCircularGeometry version="3">'
        "<SourceToIsocenterDistance>400</SourceToIsocenterDistance>"
        f"<SourceToDetectorDistance>550</SourceToDetectorDistance>{views}"
        "</RTKThreeDCircularGeometry>"
    )

    def read(folder: Path) -> object:
        options = ReadOptions(rtk_geometry=folder / "scan.xml")
        scan = read_raw_scan(folder / "scan.mha", options)
        return np.append(scan.data, scan.angles_rad)

    return Format(home / "rtk", read)


def _scanner(write: Callable[[Path], Path], home: Path, chest: Volume) -> Format:
    """A scan as a scanner writes it; a header is damaged, not the frames beside it."""
    path = write(home)
    beside = () if path.is_dir() else tuple(p for p in home.iterdir() if p != path)
    return Format(path, lambda found: read_raw_scan(found).data, beside)


def _angles(suffix: str, home: Path, chest: Volume) -> Format:
    """A list of angles beside views that are whole."""
    views = home / "views.npy"
    np.save(views, _scan("parallel", chest).values)
    angles = np.linspace(0, 180, VIEWS, endpoint=False)
    path = home / f"angles{suffix}"
    if suffix == ".npy":
        np.save(path, angles)
    else:
        path.write_text("view;angle\n" + "".join(f"{i};{a}\n" for i, a in enumerate(angles)))

    def read(path: Path) -> object:
        options = ReadOptions(angles=path, values="lines")
        return read_raw_scan(views, options).angles_rad

    return Format(path, read)


def _prior(home: Path, chest: Volume) -> Format:
    from diffusionblend.priors.config import NetworkConfig
    from diffusionblend.priors.network import build_unet
    from diffusionblend.priors.prior import make_prior

    config = NetworkConfig(
        image_size=16, unshuffle=1, channels=(8, 8), norm_groups=4, attention_head_channels=8
    )
    make_prior(build_unet(config), config, {}).save(home / "prior")

    def read(folder: Path) -> object:
        prior = load_prior(folder)
        return [w.detach().numpy().tobytes() for w in prior.unet.parameters()]

    return Format(home / "prior", read)


def _record(home: Path, chest: Volume) -> Format:
    path = home / "a.nii.gz.run.json"
    record = RunRecord(command="reconstruct", settings={"output": "a.nii.gz", "method": "fbp"})
    record.inputs.append({"path": "scan.h5", "sha256": "0" * 64})
    record.write(path)
    return Format(path, lambda p: read_run_record(p).settings)


def _state(home: Path, chest: Volume) -> Format:
    write_state(home / "a.state", 3, {"x": chest.values}, IDENTITY)
    return Format(home / "a.state", lambda p: read_state(p, IDENTITY)[1]["x"])


def _checkpoint(home: Path, chest: Volume) -> Format:
    import torch

    from diffusionblend.training.checkpoint import read_checkpoint, write_checkpoint

    weights = {"w": torch.arange(500.0)}
    write_checkpoint(home / "checkpoint.pt", {"step": 7, "unet": weights, "settings": {"a": 1}})

    def read(path: Path) -> object:
        state = read_checkpoint(path, torch.device("cpu"))
        return state["step"], state["unet"]["w"].numpy().tobytes()

    return Format(home / "checkpoint.pt", read)


def _lines(home: Path, chest: Volume) -> Format:
    for step in range(5):
        append_json_line(home / "rows.jsonl", {"step": step, "loss": 0.5})
    return Format(home / "rows.jsonl", read_json_lines)


def _cache(home: Path, chest: Volume) -> Format:
    """The index of a training's cache: what is damaged is made anew, with the same content."""
    from diffusionblend.training.cache import VolumeCache

    write_volume(chest, home / "volume.nii.gz")
    folder = home / "cache"
    VolumeCache(folder, 16).volumes([home / "volume.nii.gz"])

    def read(path: Path) -> object:
        return VolumeCache(path, 16).volumes([home / "volume.nii.gz"])[0].values.copy()

    return Format(folder, read)


def _settings_file(home: Path, chest: Volume) -> Format:
    from diffusionblend.cli.compose import read_settings

    path = home / "my.toml"
    path.write_text('method = "dds"\nsteps = 20\nconsistency = "cg"\ncg_iterations = 5\n')
    return Format(path, read_settings)


def _grid_file(home: Path, chest: Volume) -> Format:
    from diffusionblend.benchmarking.grid import read_grid

    path = home / "grid.toml"
    path.write_text('views = [8, 6]\nphotons = ["none", 1e5]\n\n[[cell]]\nmethod = "fbp"\n')
    return Format(path, lambda p: repr(read_grid(p)))


MAKERS: dict[str, Callable[[Path, Volume], Format]] = {
    **{s: partial(_volume_file, s) for s in (".nii", ".nii.gz", ".nrrd", ".mha")},
    "packed.nrrd": partial(_packed, ".nrrd"),
    "packed.mha": partial(_packed, ".mha"),
    **{s: partial(_packed, s) for s in (".nhdr", ".mhd")},
    **{f"dicom-{s}": partial(_dicom, s) for s in ("plain", "rle", "deflated", "jpeg2000")},
    "tiff-stack": _tiff_stack,
    **{f"projections-{k}": partial(_projections, k) for k in GEOMETRIES},
    ".npy": partial(_raw, _npy),
    ".npz": partial(_raw, _npz),
    ".mat": partial(_raw, _matlab),
    ".h5": partial(_raw, _data_exchange),
    ".nxs": partial(_raw, _nexus),
    ".tif": partial(_raw, _tiff),
    "packed.tif": partial(_raw, partial(_tiff, compression="zlib")),
    "tiff-frames": partial(_raw, _tiff_frames),
    "rtk": _rtk,
    **{name: partial(_scanner, write) for name, write in SCANNERS.items()},
    "angles.txt": partial(_angles, ".txt"),
    "angles.npy": partial(_angles, ".npy"),
    "prior": _prior,
    "record": _record,
    "state": _state,
    "checkpoint": _checkpoint,
    "rows": _lines,
    "cache": _cache,
    "settings.toml": _settings_file,
    "grid.toml": _grid_file,
}


def copy_of(kind: Format, folder: Path) -> Path:
    """A fresh copy of a format's file in a folder, with the files that it needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (kind.path, *kind.beside):
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy(path, folder / path.name)
    return folder / kind.path.name
