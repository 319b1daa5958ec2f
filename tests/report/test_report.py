"""The report: one file that needs nothing else, escapes what it is given and shows true pixels."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, OutputExistsError
from diffusionblend.evaluation.calibration import calibrate
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.geometry.grid import Grid
from diffusionblend.report.colours import overlay_rgba
from diffusionblend.report.html import write_report

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Collects attributes by tag and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def volumes() -> dict[str, Volume]:
    rng = np.random.default_rng(0)
    grid = Grid(shape=(8, 10, 12), spacing_mm=(4.0, 2.0, 1.5))
    truth = Volume(rng.uniform(-1000, 1000, grid.shape), grid)
    worse = truth.with_values(truth.values + rng.normal(0, 100, grid.shape))
    return {"Truth": truth, "<i>FBP": worse}


@pytest.fixture
def full(volumes, tmp_path) -> str:
    evaluations = {"<i>FBP": evaluate(volumes["<i>FBP"], volumes["Truth"])}
    path = write_report(
        tmp_path / "r.html",
        title="A & B <script>alert(1)</script>",
        volumes=volumes,
        reference="Truth",
        evaluations=evaluations,
        settings={"seed": 7, "<i>FBP": {"filter": "ram-lak", "cut-off": 0.123456789}},
        run_records={"<i>FBP": {"timings": {"total": 1.25}, "note": "</pre><b>x"}},
        projections={"views": 8, "photons per ray": 1.11e6},
    )
    return path.read_text(encoding="utf-8")


def decoded(uri: str) -> np.ndarray:
    return imread(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_the_page_is_whole_and_refers_to_nothing_outside(full: str) -> None:
    page = Page(full)
    assert page.open == []
    assert not page.all("script")
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not re.search(r"https?://|url\(|@import", full)
    policy = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_what_is_given_is_escaped(full: str) -> None:
    page = Page(full)
    assert "A & B <script>alert(1)</script>" in page.text
    assert not page.all("i")
    assert "</pre><b>x" not in full


def test_the_figures_and_settings_are_in_the_page(full: str, volumes) -> None:
    text = " ".join(Page(full).text)
    got = evaluate(volumes["<i>FBP"], volumes["Truth"])
    for score in got.planes.values():
        assert f"{score.psnr_db:.2f}" in text
        assert f"{score.ssim:.3f}" in text
    for words in ("ram-lak", "0.12346", "1.25", "1.11e+06", "Not for diagnosis", "simulated from"):
        assert words in text


def test_every_window_has_its_picture_with_the_right_grey(full: str, volumes) -> None:
    page = Page(full)
    images = {(i["alt"], i["class"]): i["src"] for i in page.all("img") if "class" in i}
    limits = {"lung": (-1350, 150), "mediastinum": (-160, 240)}
    values = volumes["<i>FBP"].values[::-1, 5]
    for name, (low, high) in limits.items():
        src = images[f"<i>FBP, coronal, {name} window", f"view-{name}"]
        expected = np.clip((values - low) / (high - low), 0, 1)
        assert np.abs(decoded(src)[..., 0] - expected).max() <= 2 / 255  # matplotlib's 8-bit map
    assert len(images) == 2 * 3 * 4 + 3
    checked = [i["id"] for i in page.all("input") if "checked" in i]
    assert checked == ["window-full"]
    assert {i["id"] for i in page.all("input")} == {i["for"] for i in page.all("label")}


def test_every_volume_has_its_line_in_every_profile(full: str) -> None:
    page = Page(full)
    curves = list(page.all("polyline"))
    assert [p["class"] for p in curves] == ["curve curve-0", "curve curve-1"] * 3
    assert [len(p["points"].split()) for p in curves] == [12, 12, 8, 8, 10, 10]  # x, z, y
    assert page.text.count("<i>FBP") >= 3


def test_seconds_of_a_run_record_make_the_table_of_times(volumes, tmp_path) -> None:
    path = write_report(
        tmp_path / "r.html",
        title="t",
        volumes={"FBP": volumes["<i>FBP"]},
        run_records={"FBP": {"seconds": {"network": 12.75}}},
    )
    cells = Page(path.read_text(encoding="utf-8")).text
    assert cells[cells.index("network") + 1] == "12.75"


def test_error_maps_are_red_where_the_reconstruction_is_too_bright(volumes, tmp_path) -> None:
    truth = volumes["Truth"]
    values = truth.values.copy()
    values[:, :5] += 250
    values[:, 5:] -= 250
    path = write_report(
        tmp_path / "r.html",
        title="t",
        volumes={"Truth": truth, "x": truth.with_values(values)},
        reference="Truth",
    )
    page = Page(path.read_text(encoding="utf-8"))
    (src,) = [i["src"] for i in page.all("img") if i["alt"] == "x, axial, error"]
    red, _, blue, _ = np.moveaxis(decoded(src), -1, 0)
    assert (red[:5] > blue[:5]).all()
    assert (red[5:] < blue[5:]).all()


def test_a_report_without_a_reference_makes_no_claim_about_one(volumes, tmp_path) -> None:
    path = write_report(tmp_path / "r.html", title="t", volumes={"FBP": volumes["<i>FBP"]})
    text = path.read_text(encoding="utf-8")
    assert "Not for diagnosis" in text
    for words in ("simulated from", "Error in HU", "Quality against", "Settings and time", "None"):
        assert words not in text


def test_a_note_on_every_method_is_said_once(tmp_path) -> None:
    rng = np.random.default_rng(0)
    grid = Grid(shape=(3, 9, 9), spacing_mm=(1, 1, 1))
    volumes = {name: Volume(rng.uniform(-900, 900, grid.shape), grid) for name in "abc"}
    first_slice_right = volumes["c"].values.copy()
    first_slice_right[0] = volumes["a"].values[0]
    volumes["c"] = volumes["c"].with_values(first_slice_right)
    evaluations = {name: evaluate(volumes[name], volumes["a"]) for name in "bc"}
    path = write_report(
        tmp_path / "r.html", title="t", volumes=volumes, reference="a", evaluations=evaluations
    )
    text = path.read_text(encoding="utf-8")
    assert text.count("No SSIM in the coronal plane") == 1
    assert "c: 1 of 3 axial slices equal the reference" in text


def test_measured_projections_are_not_called_simulated(volumes, tmp_path) -> None:
    path = write_report(
        tmp_path / "r.html", title="t", volumes=volumes, reference="Truth", simulated=False
    )
    assert "simulated" not in path.read_text(encoding="utf-8")


def test_a_deviation_is_laid_over_its_volume_and_shown_beside_the_error(volumes, tmp_path) -> None:
    truth, fbp = volumes["Truth"], volumes["<i>FBP"]
    spread = truth.with_values(np.full(truth.values.shape, 30.0))
    spread.values[:, :5] = 0.0
    calibration = calibrate(fbp, spread, truth.with_values(np.abs(truth.values)), n_samples=3)
    path = write_report(
        tmp_path / "r.html",
        title="t",
        volumes=volumes,
        reference="Truth",
        deviations={"<i>FBP": spread},
        calibrations={"<i>FBP": calibration},
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == [] and not page.all("script")
    overlays = [i for i in page.all("img") if i.get("class") == "overlay"]
    planes = ("axial", "coronal", "sagittal")
    assert [i["alt"] for i in overlays] == [f"<i>FBP, {p}, standard deviation" for p in planes]
    opacity = decoded(overlays[0]["src"])[..., 3]
    assert (opacity[:5] == 0).all() and (opacity[5:] == 1).all()  # 30 of 30 HU: the last colour
    pictures = {i["alt"]: decoded(i["src"]) for i in page.all("img") if "src" in i}
    error = pictures["<i>FBP: size of the error, coronal"]
    sizes = np.abs(fbp.values - truth.values)[::-1, 5]
    np.testing.assert_allclose(error, overlay_rgba(sizes, 30.0), atol=1 / 254)
    assert "<i>FBP: standard deviation, sagittal" in pictures
    text = " ".join(page.text)
    assert "30 HU and above" in text and "to be expected (3 samples)" in text
    assert f"{calibration.rows()[0]['within_2']:.1f}" in text
    checked = {i["id"] for i in page.all("input") if "checked" in i}
    assert checked == {"window-full", "overlay-off"}


def test_without_a_deviation_there_is_no_choice_of_it(full: str) -> None:
    page = Page(full)
    assert not [i for i in page.all("input") if i["name"] == "overlay"]
    assert "How sure it is" not in full and "standard deviation" not in " ".join(page.text)


def test_existing_and_bad_input_are_refused(volumes, tmp_path) -> None:
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_report(path, title="t", volumes=volumes)
    assert path.read_text() == "mine"
    write_report(path, title="t", volumes=volumes, force=True)
    evaluation = evaluate(volumes["<i>FBP"], volumes["Truth"])
    with pytest.raises(InputError, match="Nobody"):
        write_report(
            tmp_path / "s.html", title="t", volumes=volumes, evaluations={"Nobody": evaluation}
        )
    truth = volumes["Truth"]
    for name, deviation, word in (("Nobody", truth, "Nobody"), ("Truth", truth, "nowhere below 0")):
        with pytest.raises(InputError, match=word):
            write_report(
                tmp_path / "s.html", title="t", volumes=volumes, deviations={name: deviation}
            )
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_headline_and_pictures_come_before_the_tables(volumes, tmp_path) -> None:
    path = write_report(
        tmp_path / "r.html",
        title="Scan",
        volumes=volumes,
        reference="Truth",
        evaluations={"<i>FBP": evaluate(volumes["<i>FBP"], volumes["Truth"])},
        settings={"steps": 20},
        headline="29.1 dB",
    )
    page = path.read_text("utf-8")
    parts = ["29.1 dB", "Three planes", "<img", "Error in", "Quality against", "Settings"]
    places = [page.index(part, page.index("<body>")) for part in parts]
    assert places == sorted(places)
