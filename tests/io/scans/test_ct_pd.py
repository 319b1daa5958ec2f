"""Clinical helical scans as DICOM-CT-PD: written by the public dictionary, read, reconstructed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic import Ellipsoid, rays_of_helix
from ct_pd_files import Scanner, write_scan
from diffusionblend import reconstruct
from diffusionblend.cli.run_input import kind_of, lacks_column_mm
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series
from diffusionblend.io.projections import read_projections, write_projections
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.methods.problem import Problem
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings

SCANNER = Scanner()
BALL = Ellipsoid(centre_mm=(12.0, 9.0, 126.0), semi_axes_mm=(10, 10, 8))
"""In the format's axes: right, up, and into the gantry."""
PATIENT = {"HFS": (1, -1, 1), "FFS": (-1, -1, -1), "HFP": (-1, 1, 1), "FFP": (1, 1, -1)}
"""The patient's left, back and head, by the format's axes, for who lies how."""
SPOTS = ((4e-3, 0.0, 0.0), (-2e-3, -0.66, 1.5))


def core_of(volume, position: str, shrink: float) -> np.ndarray:
    """Which voxels lie in the ball (z, y, x), by the volume's own place in the patient's axes."""
    steps = [
        o + np.arange(n) * s
        for o, n, s in zip(
            volume.grid.origin_mm[::-1], volume.grid.shape, volume.grid.spacing_mm, strict=True
        )
    ]
    centre = np.array(BALL.centre_mm) * PATIENT[position]
    z, y, x = np.meshgrid(*steps, indexing="ij")
    apart = [(a - c) / s for a, c, s in zip((x, y, z), centre, BALL.semi_axes_mm, strict=True)]
    return np.sqrt(sum(a**2 for a in apart)) < shrink


@pytest.mark.parametrize(
    ("scanner", "how"),
    [
        (replace(SCANNER, spots=SPOTS), {}),
        (
            replace(SCANNER, position="FFS", feed_mm=-18.0, first_height_mm=149.0),
            {"implicit": True},
        ),
        (replace(SCANNER, position="HFP", cylinder=False), {"transposed": True}),
        (replace(SCANNER, position="FFP", centre=(22.1, 5.8), spots=SPOTS), {"transposed": True}),
    ],
    ids=["flying spot", "implicit", "flat", "feet first, prone"],
)
def test_a_ball_comes_back_where_the_patient_has_it(tmp_path, scanner, how):
    raw = read_raw_scan(write_scan(tmp_path / "scan", scanner, BALL, **how))
    patient = replace(BALL, centre_mm=tuple(np.multiply(BALL.centre_mm, PATIENT[scanner.position])))
    lines = patient.line_integrals(*rays_of_helix(raw.geometry))
    np.testing.assert_allclose(raw.data, lines, atol=2e-3)  # every ray; heights are rounded
    scan = prepare_scan(raw).projections
    assert scan.mu_water_per_mm == pytest.approx(0.02)
    volume = reconstruct(scan, "fbp").volume
    mu = 0.02 * (1 + volume.values / 1000)
    core = mu[core_of(volume, scanner.position, 0.65)]
    assert core.size > 60
    np.testing.assert_allclose(core.mean(), 0.02, rtol=0.01)
    assert core.std() < 0.02 * 0.02
    assert np.abs(mu[~core_of(volume, scanner.position, 1.3)]).mean() < 0.03 * 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scan(
        tmp_path_factory.mktemp("ct_pd") / "scan", replace(SCANNER, spots=SPOTS), BALL
    )


def test_parts_and_binned_columns_are_of_the_same_geometry(folder):
    whole = read_raw_scan(folder)
    part = read_raw_scan(folder, ReadOptions(rows=(2, 9), columns=(10, 41), every=2))
    np.testing.assert_array_equal(part.data, whole.data[::2, 2:9, 10:41])
    np.testing.assert_array_equal(part.photons, whole.photons[::2, :, 10:41])
    places = whole.geometry.panels().places_mm.reshape(SCANNER.views, SCANNER.n_columns, 4, 3)
    expected = places[::2, 10:41]
    expected[..., 1, 2] += ((2 + 8) / 2 - (SCANNER.n_rows - 1) / 2) * SCANNER.row_mm
    found = part.geometry.panels().places_mm.reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=0.02)  # heights are fitted to fewer views
    binned = prepare_scan(whole, PrepareSettings(binning=(2, 2))).projections
    np.testing.assert_allclose(
        binned.photons[:, 0, 0], 2 * whole.photons[:, 0, :2].sum(axis=1), rtol=1e-6
    )
    assert binned.geometry.row_mm == pytest.approx(2 * SCANNER.row_mm)


def test_photons_weigh_every_column_of_every_view(folder, tmp_path):
    scan = prepare_scan(read_raw_scan(folder)).projections
    write_projections(scan, tmp_path / "scan.h5")
    scan = read_projections(tmp_path / "scan.h5")
    counts = SCANNER.photons * (1 + np.arange(SCANNER.views) % 3)[:, None]
    np.testing.assert_allclose(scan.photons[:, 0], counts, rtol=1e-6)
    assert scan.notes["photons"] == pytest.approx(1 / (1 / counts).mean(), rel=1e-6)
    some = scan[3:5]
    weights = Problem.of(some, with_noise=True).weights
    expected = torch.from_numpy(some.photons * np.exp(-some.values))
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-4)
    with pytest.raises(InputError, match="photons have shape"):
        replace(scan, photons=scan.photons[:, :, 1:])
    with pytest.raises(InputError, match="negative"):
        replace(scan, photons=-scan.photons)
    told = prepare_scan(read_raw_scan(folder), PrepareSettings(photons=1e5)).projections
    assert told.photons is None and told.notes["photons"] == 1e5


FEW = range(4)


@pytest.mark.parametrize(
    ("tags", "changed", "said"),
    [
        (
            {},
            {"DetectorFocalCenterAngularPosition": None},
            "3 views of projections among 4 .* lacks DetectorFocalCenterAngularPosition .7031,1001",
        ),
        ({}, {"DetectorFocalCenterRadialDistance": -1.0}, "-1 for DetectorFocalCenterRadial"),
        ({}, {"DetectorCentralElement": [3.0]}, "1 values for DetectorCentralElement"),
        ({}, {"ConstantRadialDistance": 361.0}, "361.0 for ConstantRadialDistance"),
        ({}, {"DetectorFocalCenterRadialDistance": 221.0}, "focal centres 220 to 221 mm"),
        ({}, {"DetectorFocalCenterAxialPosition": 140.0}, "does not advance evenly"),
        ({}, {"DetectorFocalCenterAngularPosition": 3.0}, "steps of up to"),
        ({}, {"InstanceNumber": 1}, "are both view 1"),
        ({}, {"SpectrumIndex": 2}, "2 for SpectrumIndex"),
        ({}, {"SeriesInstanceUID": "1.2.3"}, "1.2.3 for SeriesInstanceUID"),
        ({"DetectorShape": "SPHERICAL"}, {}, "shape SPHERICAL"),
        ({"TypeofProjectionGeometry": "PARALLEL"}, {}, "type PARALLEL"),
        ({"LogFlag": "NO"}, {}, "before the logarithm"),
        ({"NumberofDetectorColumns": 50}, {}, "detector of 10 rows and 50 columns"),
        ({"NumberofDetectorRows": 0}, {}, "(?s)0 for NumberofDetectorRows.*whole number from 1"),
        ({"DetectorElementAxialSpacing": None}, {}, "lacks DetectorElementAxialSpacing"),
        ({"DetectorElementAxialSpacing": float("nan")}, {}, "not finite"),
    ],
)
def test_bad_headers_are_refused_in_words(tmp_path, tags, changed, said):
    path = write_scan(tmp_path / "scan", SCANNER, BALL, views=FEW, tags=tags, changed=changed)
    with pytest.raises(InputError, match=said):
        read_raw_scan(path)


def test_views_that_are_missing_are_named_and_refused_by_fbp(tmp_path):
    def without(first, last):
        folder = tmp_path / str(last)
        some = [view for view in range(SCANNER.views) if not first <= view < last]
        return write_scan(folder, SCANNER, BALL, views=some)

    scan = read_raw_scan(without(20, 23))
    told = " ".join(scan.notes)
    assert "3 views between the first and the last are missing (InstanceNumber 21 to 23)" in told
    done = prepare_scan(scan).projections
    words = r"views 19 and 20 are 24 degrees apart, others 6, so that some 3 are missing"
    with pytest.raises(InputError, match=words):
        reconstruct(done, "fbp")
    with pytest.raises(InputError, match=r"up to 66 degrees.*10 views .*InstanceNumber 21 to 30"):
        read_raw_scan(without(20, 30))


def test_what_is_taken_for_water_is_told(tmp_path):
    tags = {"WaterAttenuationCoefficient": None}
    scan = read_raw_scan(write_scan(tmp_path / "a", SCANNER, BALL, views=FEW, tags=tags))
    assert scan.mu_water_per_mm is None
    assert "attenuation of water" in " ".join(scan.notes) and "0.02059" in " ".join(scan.notes)
    stated = read_raw_scan(write_scan(tmp_path / "b", SCANNER, BALL, views=FEW))
    assert stated.mu_water_per_mm and "of water" not in " ".join(stated.notes)


def test_what_else_is_reported_and_refused(tmp_path):
    changes = {"PatientPosition": "HFDR", "PhotonStatistics": [0.0] * SCANNER.n_columns}
    path = write_scan(tmp_path / "a", SCANNER, BALL, views=range(0, 8, 2), tags=changes)
    scan = read_raw_scan(path)
    told = " ".join(scan.notes)
    assert "HFDR: taken as head first" in told and "3 views between" in told
    assert "(InstanceNumber 2, 4, 6)" in told
    assert "photon numbers are not used" in told and scan.photons is None
    with pytest.raises(InputError, match="measures no slice over half a turn"):
        prepare_scan(scan)
    with pytest.raises(InputError, match=r"^reverse_angles was given"):
        prepare_scan(scan, PrepareSettings(reverse_angles=True))
    feet = {"PatientPosition": "FFS", "Manufacturer": "GE MEDICAL SYSTEMS"}
    ge = read_raw_scan(write_scan(tmp_path / "b", SCANNER, BALL, views=FEW, tags=feet))
    assert "General Electric" in " ".join(ge.notes) and ge.geometry.pitch_mm > 0
    for options in ({"flats": "x"}, {"arc_degrees": 360.0}, {"views": "*"}):
        with pytest.raises(InputError, match="has no use for it"):
            read_raw_scan(path, ReadOptions(**options))
    with pytest.raises(InputError, match="cannot be turned"):
        read_raw_scan(path, ReadOptions(horizontal_axis=True))
    assert kind_of(path) == "measured scan" and not lacks_column_mm(path, ReadOptions())
    with pytest.raises(InputError, match=r"projections \(DICOM-CT-PD\), not slices"):
        read_dicom_series(path)
    one = next(path.glob("*.dcm"))
    with pytest.raises(InputError, match="single DICOM file"):
        read_raw_scan(one)
    one.write_bytes(one.read_bytes()[:-300])
    with pytest.raises(InputError, match=one.name):
        read_raw_scan(path)
