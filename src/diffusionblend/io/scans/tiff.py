"""Measured scans as TIFF: a folder of frames or sinograms, or a stack in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import RawScan, of_frames_too
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.scans.frame_names import (
    check_views,
    folders_in,
    in_order,
    is_dark,
    is_flat,
    order_notes,
    sorted_by_kind,
    tiff_files,
)
from diffusionblend.io.scans.nexus import notes_of_key, read_image_key
from diffusionblend.io.scans.numpy import read_array
from diffusionblend.io.scans.options import (
    DARK_KEY,
    FLAT_KEY,
    PROJECTION_KEY,
    ReadOptions,
    chosen_angles,
    split_by_key,
)
from diffusionblend.io.scans.tiff_file import TiffPages, read_tiff

WHITE_AT_ZERO = "highest_value_where_tiff_says_0_is_white"
"""Under this name a scan keeps the highest number of its type, where TIFF's tag says MinIsWhite."""


def read_tiff_projections(source: Path | str, options: ReadOptions) -> RawScan:
    """A scan from a folder of TIFF frames, or from one TIFF file of many pages.

    Frames are taken by the numbers in their names; files of many pages one after the other. Names
    with a word that begins with flat, white or open are flats, with dark darks, unless patterns are
    given; so are folders within. An image key separates the views from flats and darks, where the
    frames, or the list of angles, hold them too. With `options.sinograms` a page is (view, column)
    of a detector row. Raises InputError.
    """
    source = Path(source)
    paths, others = view_paths(source, options)
    frames = Frames(paths, options)
    keys, own, unit = None, None, None
    if options.image_key is not None:
        keys, own, unit = read_image_key(options.image_key)
        frames.notes += notes_of_key(options.image_key)
    angles = chosen_angles(options, source, len(frames), own, unit)
    kinds = {PROJECTION_KEY: np.arange(len(frames))}
    if keys is not None:
        angles, kinds = split_by_key(keys, angles, len(frames), source)
    elif len(frames) == 1 and options.angles is None:
        raise InputError(
            f"{source} holds one page of {frames.shape[0]} rows and {frames.shape[1]} columns: "
            "one view, or a sinogram.",
            "a page or a file for every view",
            "--sinograms, if it is the sinogram of a row, its views one below the other",
        )
    n_views, repeats = len(kinds[PROJECTION_KEY]), 1
    if len(angles) != n_views and len(angles) == len(paths):
        repeats = n_views // len(paths)  # several exposures of a view in its file
    if len(angles) != n_views // repeats:
        raise InputError(
            f"{source} has {n_views} view frames, and there are {len(angles)} angles"
            f"{of_frames_too(len(angles), n_views, len(others[0]), len(others[1]))}.",
            "an angle for every view",
            "--image-key FILE, where the list has the angles of flat and dark frames too; "
            "--views 'raw_*.tiff', where the folder has other frames; --sinograms, where a page "
            "is a sinogram",
        )
    if not source.is_dir():
        others = ([], [])
    flats = _more(others[0], frames, kinds.get(FLAT_KEY))
    darks = _more(others[1], frames, kinds.get(DARK_KEY))
    views = options.window.views
    facts: dict[str, object] = {"format": "TIFF frames"}
    if frames.highest_if_white_is_zero is not None:
        facts[WHITE_AT_ZERO] = frames.highest_if_white_is_zero
    return RawScan(
        data=frames.read_views(kinds[PROJECTION_KEY], views, repeats),
        values=options.values or "counts",
        angles_rad=angles[views],
        flats=flats,
        darks=darks,
        facts=facts,
        notes=(*order_notes(paths), *frames.notes),
        **options.window.place(*frames.shape),
    )


def settled_white(scan: RawScan) -> RawScan:
    """A scan whose TIFF header says that 0 is white: turned over where its own flats say so too.

    Detectors' software writes that tag for how frames are shown, with counts as they are, as often
    as for numbers that fall with the light. The open beam is brighter than darks and views.
    """
    if WHITE_AT_ZERO not in scan.facts:
        return scan
    highest = np.float32(str(scan.facts[WHITE_AT_ZERO]))
    dim = scan.data if scan.darks is None else scan.darks
    if scan.flats is None or np.nanmedian(scan.flats) >= np.nanmedian(dim):
        note = "the TIFF header says that 0 is white (MinIsWhite): numbers are taken as stored"
        if scan.flats is not None:
            note += ", since the open beam is the brighter so"
        return replace(scan, notes=(*scan.notes, note))
    note = (
        f"the TIFF header says that 0 is white (MinIsWhite), and the open beam is the darker in "
        f"its numbers: {highest:.0f} less each number is taken"
    )
    return replace(
        scan,
        data=highest - scan.data,
        flats=highest - scan.flats,
        darks=None if scan.darks is None else highest - scan.darks,
        notes=(*scan.notes, note),
    )


def view_paths(
    source: Path, options: ReadOptions
) -> tuple[list[Path], tuple[list[Path], list[Path]]]:
    """The files of the views in order (with an image key of all frames), and of flats and darks.

    Raises InputError for none, and where views are there twice or numbers are missing.
    """
    if not source.is_dir():
        check_readable(source)
        return [source], ([], [])
    stated = {
        p.resolve()
        for given in (options.flats, options.darks)
        if given is not None
        for p in files_of(given, source)
    }
    if options.views is not None:
        found = [p for p in _matching(source, options.views) if p.is_file()]
        views, flats, darks = in_order(found), *_beside(source)
    else:
        found = tiff_files(source)
        views, flats, darks = sorted_by_kind(found)
        if not found:
            views, flats, darks = _in_folders(source)
        elif not flats or not darks:
            more = _beside(source)
            flats, darks = flats or more[0], darks or more[1]
    kept = [p for p in views if p.resolve() not in stated]
    if options.views is not None and options.image_key is None and len(kept) > 1:
        kept = sorted_by_kind(kept)[0]
    if not kept:
        raise InputError(
            f"{source} has no TIFF frames{f' named {options.views}' if options.views else ''}"
            f"{_other_suffixes(source)}.",
            "a file .tif or .tiff for every view",
            "--views with a pattern of their names; frames of another format, such as PNG, are not "
            "read: convert them to TIFF (Fiji, ImageMagick), or save them as one array .npy",
        )
    beside = [p for p in tiff_files(source) if p not in kept]
    spaced = options.arc_degrees is not None and not options.sinograms
    check_views(kept, beside, chosen=options.views is not None, equally_spaced=spaced)
    return kept, (flats, darks)


def read_frames(
    named: str | Path, folder: Path | None, options: ReadOptions, n_rows: int | None = None
) -> np.ndarray:
    """Flat or dark frames (frame, row, column): of a TIFF or .npy file, a folder, or a pattern.

    A pattern, and a name that is not found here, are looked for in `folder`. n_rows: of the whole
    detector, by which frames are distinguished from sinograms. Raises InputError.
    """
    found = files_of(named, folder)
    if found[0].suffix.lower() == ".npy":
        frames = read_array(found[0])
        frames = frames[None] if frames.ndim == 2 else frames
        _check_frames(frames, found[0])
        rows, columns = options.window.of_detector(*frames.shape[1:])
        return frames[:, rows, columns].astype(np.float32)
    return Frames(found, options, n_rows).read()


def files_of(named: str | Path, folder: Path | None) -> list[Path]:
    """The files of a name, a folder or a pattern, here or in a folder. Raises InputError."""
    places = [Path(named)] + ([folder / named] if folder else [])
    there = {p.resolve(): p for p in places if p.exists()}
    if len(there) > 1:
        raise InputError(
            f"There are two {named}: here, and in {folder}.",
            "one of them",
            f"the whole path, {folder / named if folder else named}",
        )
    if there:
        path = next(iter(there.values()))
        found = tiff_files(path) if path.is_dir() else [path]
    else:
        matches = _matching(folder, str(named)) if folder else []
        found = in_order(p for p in matches if p.is_file())
        found += [p for m in matches if m.is_dir() for p in tiff_files(m)]
    if not found:
        raise InputError(
            f"There are no frames {named}, here or in {folder}.",
            "a file, a folder or a pattern of names",
            "check the path; put a pattern in quotes",
        )
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    """What a pattern names: in a folder, or a whole path."""
    anchor = Path(pattern).anchor
    if anchor:
        return list(Path(anchor).glob(str(Path(pattern).relative_to(anchor))))
    return list(folder.glob(pattern))


def _beside(source: Path) -> tuple[list[Path], list[Path]]:
    """Flats and darks in a folder of views: files of such names, else in folders of such names."""
    _, flats, darks = sorted_by_kind(tiff_files(source))
    folders = folders_in(source)
    flats = flats or [p for f in folders if is_flat(f) and not is_dark(f) for p in tiff_files(f)]
    darks = darks or [p for f in folders if is_dark(f) for p in tiff_files(f)]
    return flats, darks


def _in_folders(source: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Views, flats and darks in folders of their own. Raises InputError for several of views."""
    folders = [f for f in folders_in(source) if tiff_files(f)]
    views = [f for f in folders if not is_flat(f) and not is_dark(f)]
    if len(views) > 1:
        names = ", ".join(f.name for f in views[:4])
        raise InputError(
            f"{source} has TIFF frames in {len(views)} folders: {names}.",
            "the frames of one scan",
            f"--views '{views[0].name}/*.tif'; or name the folder of the views as the source",
        )
    return (tiff_files(views[0]) if views else [], *_beside(source))


def _other_suffixes(folder: Path) -> str:
    """What a folder without TIFF has instead, in words."""
    suffixes = sorted({p.suffix.lower() for p in folder.iterdir() if p.is_file() and p.suffix})
    return f"; it has files {', '.join(suffixes[:5])}" if suffixes else ""


def _more(found: list[Path], frames: Frames, by_key: np.ndarray | None) -> np.ndarray | None:
    """Flat or dark frames: those that the image key lists, else those of such names."""
    if by_key is not None and len(by_key):
        return frames.read(by_key)
    if not found:
        return None
    return Frames(found, frames.options, frames.shape[0]).read()


class Frames:
    """Frames in files of one or many pages, read as they are asked for.

    shape: rows and columns of the detector. n_rows: its rows, where they are known, by which frames
    and sinograms are distinguished. notes: what a person should know of the files. Raises
    InputError for none, and for other files than TIFF.
    """

    def __init__(
        self, paths: Sequence[Path], options: ReadOptions, n_rows: int | None = None
    ) -> None:
        if not paths:
            raise InputError(
                "There are no TIFF frames.",
                "a file .tif or .tiff for every frame",
                "check the folder",
            )
        self.paths, self.options, self.notes = list(paths), options, list[str]()
        self.read_last: tuple[int, TiffPages] | None = None
        self.highest_if_white_is_zero: int | None = None
        first = self._pages(0).frames
        _check_frames(first, self.paths[0])
        self.per_file = [len(first)]
        if len(paths) > 1 and len(first) > 1:
            self.per_file = [len(self._pages(i).frames) for i in range(len(paths))]
            self.notes.append(
                f"{len(paths)} files of {len(first)} pages: read one after the other as "
                f"{sum(self.per_file)} frames"
            )
        elif len(paths) > 1:
            self.per_file = [1] * len(paths)
        self.shape = first.shape[1:]
        self.n_frames = sum(self.per_file)
        self.sinograms = options.sinograms
        if n_rows not in (None, self.n_frames) and self.shape[0] == n_rows:
            self.sinograms = False
        if self.sinograms:
            self.shape, self.n_frames = (self.n_frames, first.shape[2]), first.shape[1]
        options.window.of_detector(*self.shape)

    def __len__(self) -> int:
        return self.n_frames

    def read(self, frames: np.ndarray | None = None) -> np.ndarray:
        """Some frames or all, (frame, row, column). Raises InputError where their sizes differ."""
        if self.sinograms:
            return self._sinograms()[slice(None) if frames is None else frames]
        window = self.options.window.of_detector(*self.shape)
        wanted = np.arange(len(self)) if frames is None else np.asarray(frames)
        ends = np.cumsum(self.per_file)
        read = np.empty((len(wanted), *(w.stop - w.start for w in window)), np.float32)
        for index in np.unique(np.searchsorted(ends, wanted, side="right")):
            pages = self._checked(int(index))
            within = wanted - (ends[index] - self.per_file[index])
            here = (within >= 0) & (within < self.per_file[index])
            read[here] = pages[within[here]][:, window[0], window[1]]
        return read

    def read_views(self, numbers: np.ndarray, taken: slice, repeats: int) -> np.ndarray:
        """The views of some frames that are taken; each of `repeats` frames, averaged."""
        if repeats == 1:
            return self.read(numbers[taken])
        self.notes.append(f"{repeats} pages of each file are averaged as one view")
        exposures = self.read(numbers)
        return exposures.reshape(-1, repeats, *exposures.shape[1:]).mean(axis=1)[taken]

    def _sinograms(self) -> np.ndarray:
        """Frames (frame, row, column) of pages that are (frame, column) of a row."""
        pages = [self._checked(i) for i in range(len(self.paths))]
        array = np.concatenate(pages)
        rows, columns = self.options.window.of_detector(*self.shape)
        return array.swapaxes(0, 1)[:, rows, columns].astype(np.float32)

    def _checked(self, index: int) -> np.ndarray:
        """A file's pages, of the size and number that are expected. Raises InputError."""
        pages, path = self._pages(index).frames, self.paths[index]
        expected = (self.per_file[index], *self._first_shape[1:])
        if pages.shape != expected:
            raise InputError(
                f"{path} has the shape {pages.shape}.",
                f"{expected}, as {self.paths[0].name}",
                "--views with a pattern of the names of the views alone",
            )
        return pages

    def _pages(self, index: int) -> TiffPages:
        """A file's pages; those that were read last are kept."""
        if self.read_last is None or self.read_last[0] != index:
            pages = read_tiff(self.paths[index])
            if pages.note and index == 0:
                self.notes.append(pages.note)
            if index == 0:
                self._first_shape = pages.frames.shape
                if pages.white_at_zero and pages.frames.dtype.kind == "u":
                    self.highest_if_white_is_zero = int(np.iinfo(pages.frames.dtype).max)
            self.read_last = index, pages
        return self.read_last[1]


def _check_frames(frames: np.ndarray, path: Path) -> None:
    """Raises InputError for what is no grey frames of numbers."""
    if frames.ndim != 3 or frames.dtype.kind not in "fiu" or 0 in frames.shape:
        raise InputError(
            f"{path} holds {frames.dtype} of shape {frames.shape}.",
            "grey frames of numbers",
            "grey frames, saved anew",
        )
