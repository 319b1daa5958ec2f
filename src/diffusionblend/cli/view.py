"""`diffusionblend view`: volumes in a page, on this machine or as one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffusionblend.cli.common import check_output_and_record, recorded, say
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import file_suffix
from diffusionblend.runs.deviation import find_band, find_deviation, read_deviation
from diffusionblend.runs.record import RunRecord

if TYPE_CHECKING:
    from diffusionblend.viewer.scene import Scene

STATIC_SUFFIX = ".html"


@dataclass(frozen=True, kw_only=True)
class View:
    """View volumes side by side in the browser: three linked planes, windows, differences."""

    volumes: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Volumes (.nii.gz, .nrrd, .mha ...) or folders of slices, all in HU or all in 1/mm."""
    reference: Path | None = None
    """Volume to which differences are shown."""
    deviation: Path | None = None
    """Volume of the standard deviation in HU of the first volume that is not the reference, shown
    on it in colours. By default NAME.sd.EXT beside each volume, if 'reconstruct --samples' wrote
    one, and with it NAME.band90.EXT, half the width of its 90 % band."""
    overlay: bool = True
    """Look for standard deviations beside the volumes."""
    port: int = 0
    """Port on 127.0.0.1; 0 takes any free one."""
    browser: bool = True
    """Open the page in the default browser."""
    static: Path | None = None
    """Write one HTML file that contains the volumes, reduced in size, instead of serving them."""
    force: bool = False
    """Overwrite the file."""

    def run(self) -> None:
        """Read, then serve until Ctrl-C, or write the file."""
        if not self.volumes:
            raise InputError("No volume was named.", "one or more", "diffusionblend view a.nii.gz")
        if self.static is not None:
            self._write(self.static)
        else:
            self._serve(self._scene(self._deviations()))

    def _write(self, path: Path) -> None:
        """The page as one file, with its record."""
        from diffusionblend.viewer.page import write_static_page

        if path.suffix.lower() != STATIC_SUFFIX:
            raise InputError(f"The page is named {path.name}.", f"a {STATIC_SUFFIX} file")
        check_output_and_record(path, self.force)
        record = RunRecord(command="view", settings=asdict(self))
        deviations = self._deviations()
        bands = _bands_of(deviations)
        for volume in [*self._paths(), *deviations.values(), *bands.values()]:
            record.add_input(volume)
        with record.timed("read"):
            scene = self._scene(deviations)
        with recorded(record, path), record.timed("write"):
            write_static_page(scene, path, force=self.force)
        say(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")

    def _serve(self, scene: Scene) -> None:
        """Serve the page until Ctrl-C, which is how it is meant to end."""
        import webbrowser

        from diffusionblend.viewer.server import ViewerServer

        server = ViewerServer(scene, port=self.port)
        try:
            say(f"look at {server.url} (on this machine only; Ctrl-C ends it)")
            if self.browser:
                webbrowser.open(server.url)
            server.serve_forever()
        except KeyboardInterrupt:
            say("closed")
        finally:
            server.server_close()

    def _scene(self, deviations: dict[Path, Path]) -> Scene:
        """The volumes on one grid, the reference first, and their standard deviations."""
        from diffusionblend.io.volumes import read_volume
        from diffusionblend.viewer.scene import Scene

        paths = self._paths()
        names = unique_names(paths)
        read = {n: read_volume(p, check=False) for n, p in zip(names, paths, strict=True)}
        found = {
            n: read_deviation(deviations[p], read[n], say, is_given=deviations[p] == self.deviation)
            for n, p in zip(names, paths, strict=True)
            if p in deviations
        }
        shown = {n: d for n, d in found.items() if d is not None}
        by_path = dict(zip(paths, names, strict=True))
        widths = {
            by_path[p]: read_deviation(b, read[by_path[p]], say, is_given=False)
            for p, b in _bands_of(deviations).items()
        }
        bands = {n: b for n, b in widths.items() if b is not None}
        scene = Scene.of(read, names[0] if self.reference is not None else None, shown, bands)
        for notice in scene.notices:
            say(f"note: {notice}")
        return scene

    def _deviations(self) -> dict[Path, Path]:
        """The file of each volume's standard deviation, by the volume's. Raises InputError."""
        paths = self._paths()
        found = {p: find_deviation(p, say) for p in paths} if self.overlay else {}
        if self.deviation is not None:
            first = next((p for p in paths if p != self.reference), None)
            if first is None:
                raise InputError(
                    "--deviation was given, but no volume besides the reference.",
                    "the volume whose standard deviation it is",
                )
            found[first] = self.deviation
        return {p: d for p, d in found.items() if d is not None}

    def _paths(self) -> list[Path]:
        """The reference, if any, and the volumes, each once."""
        first = [] if self.reference is None else [self.reference]
        others = [p for p in self.volumes if self.reference is None or p != self.reference]
        return list(dict.fromkeys([*first, *others]))


def _bands_of(deviations: dict[Path, Path]) -> dict[Path, Path]:
    """The file of each band, by the file of the volume, of volumes with a standard deviation."""
    found = {volume: find_band(volume) for volume in deviations}
    return {volume: band for volume, band in found.items() if band is not None}


def unique_names(paths: list[Path]) -> list[str]:
    """A short name for each path: without suffix, else with it, else with folders before it."""
    resolved = [p.resolve() for p in paths]
    names = [p.name.removesuffix(file_suffix(p)) or p.name for p in resolved]
    for depth in range(1, max(len(p.parts) for p in resolved) + 1):
        repeated = {n for n in names if names.count(n) > 1}
        names = [
            "/".join(p.parts[-depth:]) if n in repeated else n
            for p, n in zip(resolved, names, strict=True)
        ]
    return names
