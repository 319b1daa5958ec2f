"""Patients: identified by file names or DICOM, and held out whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_series import write_series
from diffusionblend.errors import InputError
from diffusionblend.phantom import synthetic_chest
from diffusionblend.training.patients import check_apart, held_out, patient_of


@pytest.mark.parametrize(
    ("name", "pattern", "patient"),
    [
        ("p07_scan2.nii.gz", None, "p07_scan2"),
        ("p07_scan2.nii.gz", "_scan", "p07"),
        ("p07_scan2.v1.mha", r"_scan\d", "p07"),
        ("p07.mha", "_scan", "p07"),
        ("_scan7.mha", "_scan", "_scan7"),
    ],
)
def test_a_file_name_identifies_the_patient(name: str, pattern: str | None, patient: str) -> None:
    assert patient_of(Path(name), pattern) == patient


def test_dicom_identifies_the_patient(tmp_path: Path) -> None:
    hu = synthetic_chest(1, shape=(3, 8, 8)).values.round()
    for name, patient in (("first", "P1"), ("second", "P1"), ("nameless", "")):
        write_series(tmp_path / name, hu, change=lambda i, d, p=patient: setattr(d, "PatientID", p))
    found = [patient_of(tmp_path / n, "_") for n in ("first", "second", "nameless")]
    assert found == ["P1", "P1", "nameless"]


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="regular expression"):
        patient_of(Path("a.mha"), "(")


def test_whole_patients_are_held_out() -> None:
    patients = {f"p{i}_{j}": f"p{i}" for i in range(10) for j in range(1 + i % 3)}
    chosen = held_out(patients, 0.3, seed=1)
    assert len({patients[n] for n in chosen}) == 3
    assert chosen == {n for n, p in patients.items() if p in {patients[c] for c in chosen}}
    assert held_out(patients, 0.3, seed=1) == chosen
    assert any(held_out(patients, 0.3, seed=s) != chosen for s in (2, 3, 4))
    two = {"a": "a", "b": "b"}
    for share in (0.001, 0.999):
        assert len(held_out(two, share, seed=0)) == 1


def test_too_few_patients_or_no_share_are_refused() -> None:
    with pytest.raises(InputError, match="1 patient"):
        held_out({"a": "p", "b": "p"}, 0.5, seed=0)
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(InputError, match="share"):
            held_out({"a": "a", "b": "b"}, share, seed=0)


def test_a_patient_in_both_is_refused_by_the_volumes_name() -> None:
    with pytest.raises(InputError, match=r"x1\.nii is in training and validation") as refused:
        check_apart({"x1.nii": "secret", "x2.nii": "q"}, {"y.nii": "secret"})
    assert "secret" not in str(refused.value)
    check_apart({"x1.nii": "p"}, {"y.nii": "q"})
