"""A volume as a picture: planes, window, unit."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

import diffusionblend as db
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from small_scan import small_volume


def test_the_three_planes_are_drawn_in_the_window():
    volume = small_volume((5, 16, 12))
    picture = volume.plot("lung")
    images = [axes.images[0] for axes in picture.figure.axes if axes.images]
    assert [image.get_array().shape for image in images] == [(16, 12), (5, 12), (5, 16)]
    assert {image.get_clim() for image in images} == {(-1350.0, 150.0)}
    titles = [axes.get_title() for axes in picture.figure.axes][:3]
    assert titles == ["axial, slice 2", "coronal, slice 8", "sagittal, slice 6"]
    assert imread(io.BytesIO(picture._repr_png_())).ndim == 3


def test_an_object_has_an_automatic_window():
    values = np.linspace(0, 0.05, 5 * 6 * 7).reshape(5, 6, 7)
    volume = Volume(values, Grid(shape=(5, 6, 7), spacing_mm=(1, 1, 1)))
    picture = volume.plot()
    low, high = picture.figure.axes[0].images[0].get_clim()
    assert 0 <= low < 0.001 and 0.049 < high <= 0.05
    assert picture.figure.axes[-1].get_ylabel() == "1/mm"
    with pytest.raises(InputError, match="lung"):
        volume.plot("lung")


def test_volumes_are_compared_by_name():
    a, b = small_volume(), small_volume()
    picture = db.compare(reference=a, fbp=b)
    labels = [axes.get_label() for axes in picture.figure.axes]
    assert "fbp/axial" in labels and "fbp: error/axial" in labels
    assert "fbp: error/axial" not in [
        axes.get_label() for axes in db.compare(one=a, two=b).figure.axes
    ]
    with pytest.raises(InputError, match="no volume"):
        db.compare()


def test_the_viewer_in_a_cell_is_the_whole_page():
    cell = db.show(reference=small_volume(), fbp=small_volume())._repr_html_()
    assert cell.startswith('<iframe srcdoc="') and cell.endswith("</iframe>")
    inside = cell.split('srcdoc="')[1].split('"')[0]
    assert "<" not in inside and "&lt;script" in inside and "fbp" in inside
    with pytest.raises(InputError, match="no volume"):
        db.show()


@pytest.mark.parametrize("window", [7, (1,), (1, 2, 3), ("a", "b"), (None, 5)])
def test_what_is_no_window_is_refused(window):
    with pytest.raises(InputError, match="black and white"):
        small_volume((5, 16, 12)).plot(window=window)


@pytest.mark.parametrize("thing", [np.zeros((5, 16, 12)), "chest.nii.gz", None])
def test_what_is_no_volume_is_refused(thing):
    with pytest.raises(InputError, match=f"fbp is a {type(thing).__name__}"):
        db.compare(reference=small_volume((5, 16, 12)), fbp=thing)
    if thing is not None:
        with pytest.raises(InputError, match="reference is a"):
            db.compare(reference=thing, fbp=small_volume((5, 16, 12)))
