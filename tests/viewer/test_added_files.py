"""Files that are dropped on the page: read by the server, shown beside the others, or refused."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.volumes import write_volume
from diffusionblend.viewer import server as server_module
from diffusionblend.viewer.scene import Scene
from diffusionblend.viewer.server import ViewerServer
from viewer_scenes import GRID, brighter, serving, truth


@pytest.fixture
def server() -> Iterator[ViewerServer]:
    with serving(Scene.of({"truth": truth()}, "truth")) as running:
        yield running


@pytest.fixture
def nifti(tmp_path) -> bytes:
    write_volume(brighter(), tmp_path / "recon.nii.gz")
    return (tmp_path / "recon.nii.gz").read_bytes()


def post(
    server: ViewerServer, path: str, body: bytes, *, token: str | None = None, **headers: str
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    own = f"http://127.0.0.1:{server.server_port}"
    token = server.token if token is None else token
    connection.request("POST", f"/{token}/{path}", body, headers={"Origin": own} | headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_a_file_is_shown_beside_the_others(server, nifti):
    before = server.page
    assert post(server, f"add/{urllib.parse.quote('a b<c>.nii.gz')}", nifti) == (200, "added\n")
    assert list(server.scene.volumes) == ["truth", "a b<c>"]
    expected = np.rint(brighter().values).astype("<i2")
    np.testing.assert_array_equal(server.scene.volumes["a b<c>"], expected)
    assert server.scene.reference == "truth" and server.page != before
    assert b"a b<c>" not in server.page and b"a b&lt;c&gt;" in server.page
    post(server, "add/truth.nii.gz", nifti)
    assert list(server.scene.volumes) == ["truth", "a b<c>", "truth (2)"]


def test_one_on_another_grid_is_resampled_with_a_notice(server, tmp_path):
    coarse = Volume(
        truth().values[::2, ::2, ::2],
        Grid(shape=(10, 12, 15), spacing_mm=(4.0, 2.0, 3.0), origin_mm=GRID.origin_mm),
    )
    write_volume(coarse, tmp_path / "c.mha")
    assert post(server, "add/c.mha", (tmp_path / "c.mha").read_bytes())[0] == 200
    assert server.scene.volumes["c"].shape == GRID.shape
    assert any("c (10 x 12 x 15" in notice for notice in server.scene.notices)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("a.txt", lambda b: b, "a.txt is not a volume by its name"),
        ("scan.dcm", lambda b: b, "diffusionblend view FOLDER"),
        ("a.nii.gz", lambda b: b[: len(b) // 2], "a.nii.gz"),
        ("a.nii.gz", lambda b: b"", "a.nii.gz"),
        ("a.nrrd", lambda b: b, "a.nrrd"),
        ("a\x1b[2J.txt", lambda b: b, "is not a volume by its name"),
        ("../../etc/a.nii", lambda b: b"x" * 400, "a.nii"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_reason(server, nifti, name, damage, said):
    path = f"add/{urllib.parse.quote(name, safe='')}"
    status, text = post(server, path, damage(nifti))
    assert status == 422 and said in text, text
    assert "/tmp" not in text and "etc" not in text and "\x1b" not in text
    assert "Expected" in text
    assert list(server.scene.volumes) == ["truth"]


def test_other_units_and_other_places_are_refused(server, tmp_path):
    far = Grid(shape=GRID.shape, spacing_mm=GRID.spacing_mm, origin_mm=(9e3, 0.0, 0.0))
    for name, volume, said in (
        ("mm", Volume(np.full(GRID.shape, 0.02), GRID), "1/mm"),
        ("far", Volume(truth().values, far), "do not overlap"),
    ):
        write_volume(volume, tmp_path / f"{name}.nrrd")
        status, text = post(server, f"add/{name}.nrrd", (tmp_path / f"{name}.nrrd").read_bytes())
        assert status == 422 and said in text, text


def test_only_our_own_page_may_send(server, nifti):
    path = "add/a.nii.gz"
    assert post(server, path, nifti, token="wrong")[0] == 403
    assert post(server, path, nifti, Origin="http://example.org")[0] == 403
    assert post(server, path, nifti, Host="example.org", Origin="http://example.org")[0] == 403
    assert post(server, "volume/0/0", nifti)[0] == 404
    assert list(server.scene.volumes) == ["truth"]


def test_a_length_that_is_missing_or_too_large_is_refused(server, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_ADDED_BYTES", 1000)
    assert post(server, "add/a.nii", b"x" * 1001)[0] == 413
    assert post(server, "add/a.nii", b"", **{"Content-Length": "-5"})[0] == 411
    assert post(server, "add/a.nii", b"", **{"Content-Length": "many"})[0] == 411


def test_no_file_is_kept(server, nifti, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    post(server, "add/a.nii.gz", nifti)
    post(server, "add/a.nii.gz", nifti[:100])
    assert list(Path(tmp_path / "own").iterdir()) == []


def test_attenuation_that_the_steps_do_not_reach_is_reported():
    values = np.linspace(0, 0.009, GRID.shape[0] * GRID.shape[1] * GRID.shape[2])
    small = Volume(values.reshape(GRID.shape), GRID)
    scene = Scene.of({"a": small}).with_volume("b", small.with_values(small.values * 100))
    assert "b reaches 0.9 1/mm" in scene.notices[-1]
    assert scene.volumes["b"].max() == 32767
