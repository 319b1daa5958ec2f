"""Options of the readers of measured scans, and what all readers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import Values, Window
from diffusionblend.errors import InputError
from diffusionblend.geometry import equally_spaced_angles
from diffusionblend.io.foreign.edge import foreign_edge
from diffusionblend.io.scans.angle_list import read_angle_list
from diffusionblend.io.scans.angles import AngleUnit, angles_in_radians

NO_ANGLES = "holds no angles"
"""What the error of a source without angles says."""
PROJECTION_KEY, FLAT_KEY, DARK_KEY = 0, 1, 2
"""What an image key says of a frame (NXtomo); other keys are frames to leave out."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the files do not contain, and the part of the scan to read."""

    values: Values | None = None
    """What the numbers are: counts (grey values), transmission I / I0, or line integrals; by
    default that of the files, or counts."""
    angles: Path | None = None
    """File of angles, one number per view (text or .npy), in place of the source's own."""
    angle_unit: AngleUnit | None = None
    """Unit of the angles, whatever the files state; by default theirs, or degrees."""
    arc_degrees: float | None = None
    """Arc in degrees of equally spaced views, without its end, if there is no list of angles."""
    views: str | None = None
    """Pattern of the names of a folder's view frames, such as 'raw_*.tiff'."""
    flats: str | None = None
    """Frames of the open beam: a TIFF or .npy file, a folder, or a pattern of names."""
    darks: str | None = None
    """Frames without a beam: a TIFF or .npy file, a folder, or a pattern of names."""
    image_key: Path | None = None
    """NeXus file whose image key distinguishes a folder's views from its flats and darks."""
    rtk_geometry: Path | None = None
    """RTK's geometry (.xml) of projections .mha or .mhd: angles, distances and offsets."""
    vectors: Path | None = None
    """Source, middle of the panel, and steps of a column and of a row in every view, 12 numbers in
    mm as in ASTRA's cone_vec (text, .npy, or its proj_geom as .json), in place of angles."""
    rows: tuple[int, int] | None = None
    """Detector rows to read: the first, counted from 0, and one past the last."""
    columns: tuple[int, int] | None = None
    """Detector columns to read: the first, counted from 0, and one past the last."""
    every: int = 1
    """Read the first view and every N-th after it."""
    sinograms: bool = False
    """Read the frames as sinograms: TIFF pages (view, column) of a detector row, or an array (row,
    view, column)."""
    horizontal_axis: bool = False
    """Turn the frames by 90 degrees, because the axis of rotation lies along the detector's rows;
    options for rows and columns refer to the turned frames."""
    white_level: float | None = None
    """Grey value of the open beam, in place of flats, for frames that are already
    flat-corrected."""

    @property
    def window(self) -> Window:
        """The part of the scan to read."""
        return Window(rows=self.rows, columns=self.columns, every=self.every)

    def __post_init__(self) -> None:
        _ = self.window  # which checks itself
        if self.angles is not None and self.arc_degrees is not None:
            raise InputError(
                "Both a list of angles and an arc were given.",
                "one of them",
                "leave one of them out",
            )
        if self.vectors is not None and (self.angles, self.arc_degrees) != (None, None):
            raise InputError(
                "Both vectors and angles, or an arc, were given.",
                "one of them",
                "leave one of them out",
            )
        if self.arc_degrees is not None and not 0 < abs(self.arc_degrees) < np.inf:
            raise InputError(
                f"The arc is {self.arc_degrees} degrees.",
                "degrees other than 0",
                "--arc-degrees 180, or -180 where it turns the other way",
            )
        if self.white_level is not None and not 0 < self.white_level < np.inf:
            raise InputError(
                f"The white level is {self.white_level}.",
                "a positive grey value",
                "the grey value of the open beam",
            )
        if self.white_level is not None and self.flats is not None:
            raise InputError(
                "Both flats and a white level were given.", "one of them", "leave one of them out"
            )
        if self.white_level is not None and self.values not in (None, "counts"):
            raise InputError(
                f"A white level was given for values that are {self.values}.",
                "counts",
                "--values counts, or leave the white level out",
            )


def chosen_angles(
    options: ReadOptions,
    source: Path | str,
    n_frames: int,
    own: np.ndarray | None = None,
    own_unit: str | None = None,
) -> np.ndarray:
    """The angles of a source's frames in radians: those given, else its own, else over the arc.

    own, own_unit: the source's own angles and their unit, where it has them. Raises InputError
    where there are none.
    """
    if options.angles is not None:
        with foreign_edge(options.angles):
            listed, unit = read_angle_list(options.angles)
        return angles_in_radians(listed, options.angles, stated=unit, insisted=options.angle_unit)
    if options.arc_degrees is not None:
        return np.array(equally_spaced_angles(n_frames, options.arc_degrees))
    if own is None:
        raise InputError(
            f"{source} {NO_ANGLES}.",
            "an angle for every view",
            "--angles FILE with one number a view, or --arc-degrees 180 for equally spaced views",
        )
    return angles_in_radians(own, source, stated=own_unit, insisted=options.angle_unit)


def split_by_key(
    keys: np.ndarray, angles_rad: np.ndarray, n_frames: int, source: Path | str
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The views' angles, and which frames are views, flats and darks, by their key.

    The frames are all that the key lists, or its views alone. Raises InputError where neither
    fits.
    """
    keys = np.asarray(keys).ravel()
    is_view = keys == PROJECTION_KEY
    if n_frames == len(keys):
        kinds = {key: np.flatnonzero(keys == key) for key in (PROJECTION_KEY, FLAT_KEY, DARK_KEY)}
    elif n_frames == is_view.sum():
        kinds = {PROJECTION_KEY: np.arange(n_frames)}
    else:
        raise InputError(
            f"{source} has {n_frames} frames; the image key lists {len(keys)}, "
            f"{int(is_view.sum())} of them views.",
            "all of these frames, or the views alone",
            "the image key of the same scan, and --views with a pattern of the views' names",
        )
    if not is_view.any():
        raise InputError(
            f"The image key of {source} lists no views.",
            "frames of key 0",
            "check the key; or copy the file again",
        )
    if len(angles_rad) == len(keys):
        angles_rad = angles_rad[is_view]
    return angles_rad, kinds
