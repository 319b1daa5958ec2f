"""Discs of the Helsinki Tomography Challenge 2022: limited arcs, scored as the challenge does.

A reconstruction is thresholded into material and air; the score is the Matthews correlation
coefficient of that with the reference segmentation, over 512 x 512 pixels. Limited arcs are
reconstructed with pixels four times as wide, from every fourth view and columns taken together by
four, and enlarged linearly before the threshold. Weight and threshold are chosen for each arc on
the four training objects ta to td, whose full scans are cut to an arc of that length. The discs are
of one material: bounded ADMM-TV keeps attenuation at or below its mean over the training objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion
from skimage.transform import rescale

from diffusionblend import AdmmTv, Fbp, Method, Projections, reconstruct
from diffusionblend.data.raw_scan import RawScan
from diffusionblend.io.scans.htc2022 import read_matlab
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from diffusionblend.units import hu_to_mu, mu_to_hu

ARCS_DEGREES = {"01a": 90, "04b": 60, "07c": 30}
"""Of the discs that are scored here."""
TRAINING = ("ta", "tb", "tc", "td")
SIZE = 512
PIXEL_MM = 0.2 * 410.66 / 553.74
COARSER = 4
EVERY_VIEW = 4
METHODS = ("fbp", "admm-tv", "admm-tv bounded")
TV_WEIGHTS = (0.06, 0.25, 1.0, 4.0, 16.0)
TV = AdmmTv(iterations=800, penalty=30.0, inner_iterations=3)
"""Limited arcs converge slowly: 200 iterations scored 0.03 less at 60 degrees, 2500 the same."""
THRESHOLDS_PER_MM = tuple(round(0.0005 * k, 4) for k in range(-10, 71))
EDGE_DEGREES = 1e-6
EDGE = 8
"""Pixels from its border on that do not count for the material's attenuation."""
LABELS = {"fbp": "FBP", "admm-tv": "ADMM-TV", "admm-tv bounded": "ADMM-TV, bounded"}
WINDOW_PER_MM = (-0.002, 0.045)


@dataclass(frozen=True, kw_only=True)
class Discs:
    """The challenge's files, and what was tuned on its training objects."""

    folder: Path
    tuned_file: Path
    images: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def cells(self, name: str) -> Iterator[tuple[str, Callable[[], dict[str, object]]]]:
        """The rows of a disc by their label, each with the function that makes it."""
        yield "full", lambda: self._full(name)
        for method in METHODS:
            yield method, lambda m=method: self._limited(name, m)

    def picture(self, name: str) -> tuple[dict[str, list[np.ndarray]], tuple[float, float], str]:
        """Rows of pictures: the references, then what the methods make of the arc."""
        arc = ARCS_DEGREES[name]
        segmentation = self.segmentation(f"{name}_recon_fbp") * WINDOW_PER_MM[1]
        rows = {
            "whole turn: reference FBP, FBP here, reference segmentation": [
                self.reference(name) / PIXEL_MM,
                self.full_image(name),
                segmentation,
            ]
        }
        for method in METHODS:
            image = self.limited_image(name, method)
            threshold = self.tuned[str(arc)][method]["threshold_per_mm"]
            binary = np.where(image > threshold, WINDOW_PER_MM[1], 0.0)
            error = np.abs(binary - segmentation)
            title = f"{arc} degrees: {LABELS[method]}, thresholded, where it is wrong"
            rows[title] = [image, binary, error]
        return rows, WINDOW_PER_MM, "attenuation (1/mm)"

    def _full(self, name: str) -> dict[str, object]:
        """FBP of the whole turn against the reference FBP supplied."""
        image = self.full_image(name)
        both = np.corrcoef(image.ravel(), self.reference(name).ravel())
        return {"arc_degrees": 360, "method": "FBP", "correlation": float(both[0, 1])}

    def _limited(self, name: str, method: str) -> dict[str, object]:
        """A method on the official arc, its threshold tuned elsewhere."""
        arc = ARCS_DEGREES[name]
        tuned = self.tuned[str(arc)][method]
        image = self.limited_image(name, method)
        truth = self.segmentation(f"{name}_recon_fbp")
        label = LABELS[method]
        if "weight" in tuned:
            label += f", weight {tuned['weight']:g}"
        return {
            "arc_degrees": arc,
            "method": label,
            "matthews": matthews(image > tuned["threshold_per_mm"], truth),
            "threshold_per_mm": tuned["threshold_per_mm"],
        }

    def full_image(self, name: str) -> np.ndarray:
        """FBP of all views, (512, 512) in 1/mm."""
        if (name, "full") not in self.images:
            scan = read_raw_scan(self._file(f"{name}_full"))
            self.images[name, "full"] = image_of(projections_of(scan, 1), Fbp())
        return self.images[name, "full"]

    def limited_image(self, name: str, method: str) -> np.ndarray:
        """A method's picture of the official arc, enlarged to (512, 512), in 1/mm."""
        if (name, method) not in self.images:
            scan = read_raw_scan(self._file(f"{name}_limited"), ReadOptions(every=EVERY_VIEW))
            weight = self.tuned[str(ARCS_DEGREES[name])][method].get("weight")
            self.images[name, method] = self._coarse_image(scan, method, weight)
        return self.images[name, method]

    def reference(self, name: str) -> np.ndarray:
        """The FBP supplied, (y, x) with y downwards, in attenuation per pixel."""
        return read_matlab(self._file(f"{name}_recon_fbp"))["reconFullFbp"][::-1]

    def segmentation(self, name: str) -> np.ndarray:
        """A segmentation supplied, (y, x) with y downwards."""
        return read_matlab(self._file(f"{name}_seg"))["reconFullFbpSeg"][::-1] > 0

    @cached_property
    def tuned(self) -> dict[str, dict[str, dict[str, float]]]:
        """Weight and threshold by arc and method, from a file, or searched and kept there."""
        known = json.loads(self.tuned_file.read_text()) if self.tuned_file.exists() else {}
        for arc in ARCS_DEGREES.values():
            for method in METHODS:
                if method not in known.get(str(arc), {}):
                    known.setdefault(str(arc), {})[method] = self._tune(arc, method)
                    self.tuned_file.write_text(json.dumps(known, indent=2) + "\n")
                    print(arc, method, known[str(arc)][method], flush=True)
        return known

    def _tune(self, arc: int, method: str) -> dict[str, object]:
        """The weight and threshold of the highest mean score over the training objects."""
        scores: dict[tuple[float | None, float], float] = {}
        for weight in (None,) if method == "fbp" else TV_WEIGHTS:
            pairs = []
            for name in TRAINING:
                scan = cut_to_arc(read_raw_scan(self._file(f"{name}_full")), arc)
                truth = self.segmentation(f"{name}_full_recon_fbp")
                pairs.append((self._coarse_image(scan, method, weight), truth))
            for threshold in THRESHOLDS_PER_MM:
                found = [matthews(image > threshold, truth) for image, truth in pairs]
                scores[weight, threshold] = float(np.mean(found))
        weight, threshold = max(scores, key=scores.__getitem__)
        by_weight = {
            str(w): round(max(s for (v, _), s in scores.items() if v == w), 4)
            for w in dict.fromkeys(w for w, _ in scores)
        }
        chosen = {} if weight is None else {"weight": weight}
        best = {"threshold_per_mm": threshold, "training_matthews_by_weight": by_weight}
        return chosen | best

    @cached_property
    def material_per_mm(self) -> float:
        """The discs' material: the mean of FBP within the training objects."""
        inside = []
        for name in TRAINING:
            truth = binary_erosion(self.segmentation(f"{name}_full_recon_fbp"), iterations=EDGE)
            inside.append(self.full_image(name)[truth].mean())
        return float(np.mean(inside))

    def _coarse_image(self, scan: RawScan, method: str, weight: float | None) -> np.ndarray:
        """A limited arc by a method, enlarged linearly to 512 x 512."""
        projections = projections_of(scan, COARSER)
        if weight is None:
            image = image_of(projections, Fbp())
        else:
            highest = None
            if method == "admm-tv bounded":
                highest = float(mu_to_hu(self.material_per_mm, projections.mu_water_per_mm))
            image = image_of(projections, replace(TV, weight=weight, highest_hu=highest))
        return rescale(image, COARSER, order=1)

    def _file(self, name: str) -> Path:
        return self.folder / f"htc2022_{name}.mat"


def cut_to_arc(scan: RawScan, arc_degrees: float) -> RawScan:
    """The first views of a scan, over an arc from its first angle, every fourth of them."""
    degrees = np.degrees(scan.angles_rad - scan.angles_rad[0])
    taken = np.flatnonzero(degrees <= arc_degrees + EDGE_DEGREES)[::EVERY_VIEW]
    return replace(scan, data=scan.data[taken], angles_rad=scan.angles_rad[taken])


def projections_of(scan: RawScan, coarser: int) -> Projections:
    """A scan for 512 x 512 pixels of the references' width, or for coarser ones."""
    settings = PrepareSettings(
        size=SIZE // coarser, pixel_mm=PIXEL_MM * coarser, binning=(1, coarser)
    )
    return prepare_scan(scan, settings).projections


def image_of(projections: Projections, method: Method) -> np.ndarray:
    """The one slice of a disc, (y, x) in 1/mm."""
    volume = reconstruct(projections, method).volume
    return hu_to_mu(volume.values[0], projections.mu_water_per_mm)


def matthews(found: np.ndarray, truth: np.ndarray) -> float:
    """The Matthews correlation coefficient of two segmentations; 0 where one is constant."""
    yes, no = float((found & truth).sum()), float((~found & ~truth).sum())
    false, missed = float((found & ~truth).sum()), float((~found & truth).sum())
    spread = (yes + false) * (yes + missed) * (no + false) * (no + missed)
    return (yes * no - false * missed) / math.sqrt(spread) if spread > 0 else 0.0
