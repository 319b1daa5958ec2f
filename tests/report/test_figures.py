"""The figure: which pixels, at which scale, in which colours, and that it is a readable file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, OutputExistsError
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.geometry.grid import Grid
from diffusionblend.report.colours import COLOURS, deviation_limit_hu
from diffusionblend.report.figures import (
    figure_png_bytes,
    save_figure,
    three_planes_figure,
    uncertainty_figure,
)


@pytest.fixture(scope="module")
def volumes() -> dict[str, Volume]:
    rng = np.random.default_rng(0)
    grid = Grid(shape=(8, 10, 12), spacing_mm=(4.0, 2.0, 1.5))
    truth = Volume(rng.uniform(-1000, 1000, grid.shape), grid)
    worse = truth.with_values(truth.values + rng.normal(0, 100, grid.shape))
    return {"Truth": truth, "FBP": worse}


def panels(figure) -> dict[str, object]:
    return {axes.get_label(): axes for axes in figure.axes if axes.images and axes.get_label()}


def test_panels_show_the_middle_slices_and_their_signed_errors(volumes) -> None:
    shown = panels(three_planes_figure(volumes, "Truth", "lung"))
    truth, fbp = volumes["Truth"].values, volumes["FBP"].values
    assert set(shown) == {
        f"{column}/{plane}"
        for column in ("Truth", "FBP", "FBP: error")
        for plane in ("axial", "coronal", "sagittal")
    }
    for label, expected in (
        ("Truth/axial", truth[4]),
        ("FBP/coronal", fbp[::-1, 5]),
        ("FBP/sagittal", fbp[::-1, :, 6]),
        ("FBP: error/coronal", (fbp - truth)[::-1, 5]),
    ):
        np.testing.assert_array_equal(shown[label].images[0].get_array(), expected)
    assert shown["FBP/axial"].images[0].get_clim() == (-1350, 150)
    assert shown["FBP: error/axial"].images[0].get_clim() == (-300, 300)


def test_every_panel_has_the_same_scale_in_millimetres(volumes) -> None:
    figure = three_planes_figure(volumes, "Truth", (-200, 300))
    sizes_mm = {"axial": (18, 20), "coronal": (18, 32), "sagittal": (20, 32)}
    inches = figure.get_size_inches()
    scales = []
    for label, axes in panels(figure).items():
        box = axes.get_position()
        width_mm, height_mm = sizes_mm[label.rpartition("/")[2]]
        scales += [box.width * inches[0] / width_mm, box.height * inches[1] / height_mm]
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= 1
        assert box.y1 <= 1
    assert max(scales) == pytest.approx(min(scales), rel=1e-6)


def test_deviation_and_error_share_their_colours(volumes) -> None:
    mean, truth = volumes["FBP"], volumes["Truth"]
    spread = mean.with_values(np.abs(mean.values) / 10)
    shown = panels(uncertainty_figure(mean, spread, truth))
    columns = ("reference", "mean", "standard deviation", "size of the error")
    assert set(shown) == {f"{c}/{p}" for c in columns for p in ("axial", "coronal", "sagittal")}
    images = {label: axes.images[0] for label, axes in shown.items()}
    for name in columns[2:]:
        assert images[f"{name}/axial"].get_clim() == (0.0, deviation_limit_hu([spread.values]))
    np.testing.assert_allclose(images["standard deviation/axial"].get_array(), spread.values[4])
    error = np.abs(mean.values - truth.values)[4]
    np.testing.assert_allclose(images["size of the error/axial"].get_array(), error, atol=1e-3)
    colours = images["standard deviation/axial"].cmap(np.array([0.0, 1.0]))[:, :3]
    np.testing.assert_allclose(colours, [(0, 0, 0), np.array(COLOURS[-1]) / 255])
    assert len(panels(uncertainty_figure(mean, spread))) == 6
    with pytest.raises(InputError, match="nowhere below 0"):
        uncertainty_figure(mean, truth)


def test_panels_do_not_overlap(volumes) -> None:
    boxes = [a.get_position() for a in panels(three_planes_figure(volumes, "Truth")).values()]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = a.x0 >= b.x1 or b.x0 >= a.x1 or a.y0 >= b.y1 or b.y0 >= a.y1
            assert apart


def test_scores_stand_in_the_panels_of_their_plane(volumes) -> None:
    evaluation = evaluate(volumes["FBP"], volumes["Truth"])
    evaluations = {"FBP": evaluation}
    shown = panels(three_planes_figure(volumes, "Truth", evaluations=evaluations))
    for plane, score in evaluation.planes.items():
        assert f"{score.psnr_db:.1f} dB" in [t.get_text() for t in shown[f"FBP/{plane}"].texts]
    assert not any("dB" in t.get_text() for t in shown["Truth/axial"].texts)


def test_the_png_has_the_figure_s_size_and_content(volumes) -> None:
    figure = three_planes_figure({"$only": volumes["FBP"]})
    pixels = imread(io.BytesIO(figure_png_bytes(figure)))
    expected = figure.get_size_inches() * figure.dpi
    assert abs(pixels.shape[1] - expected[0]) <= 1
    assert abs(pixels.shape[0] - expected[1]) <= 1
    assert pixels[..., :3].std() > 0.1


def test_save_keeps_an_existing_file_unless_forced(volumes, tmp_path) -> None:
    figure = three_planes_figure(volumes)
    path = save_figure(figure, tmp_path / "planes.svg")
    assert "<svg" in path.read_text()
    with pytest.raises(OutputExistsError):
        save_figure(figure, path)
    save_figure(figure, path, force=True)
    with pytest.raises(InputError, match=r"planes\.png"):
        save_figure(figure, tmp_path / "planes.xyz")
    assert [p.name for p in tmp_path.iterdir()] == ["planes.svg"]


def test_bad_requests_are_refused(volumes) -> None:
    with pytest.raises(InputError, match="no volume"):
        three_planes_figure({})
    with pytest.raises(InputError, match="reference"):
        three_planes_figure(volumes, "Nobody")
    with pytest.raises(InputError, match="liver"):
        three_planes_figure(volumes, window="liver")
    with pytest.raises(InputError, match="window"):
        three_planes_figure(volumes, window=(100, -100))
    small = Volume(np.zeros((8, 10, 11)), Grid(shape=(8, 10, 11), spacing_mm=(4, 2, 1.5)))
    with pytest.raises(InputError, match="voxels"):
        three_planes_figure({**volumes, "small": small})
