"""Lists of angles as people and instruments write them."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.io.scans.angle_list import read_angle_list
from diffusionblend.io.scans.angles import angles_in_radians
from diffusionblend.io.scans.options import ReadOptions, chosen_angles
from diffusionblend.io.scans.registry import read_raw_scan

DEGREES = np.arange(180) * 1.5
ROWS = [f"{v:.1f}" for v in DEGREES]
COMMA = [v.replace(".", ",") for v in ROWS]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("byte order mark", b"\xef\xbb\xbf" + "\r\n".join(ROWS).encode()),
        ("utf-16", "\r\n".join(ROWS).encode("utf-16")),
        ("heading", b"angle_deg\n" + "\n".join(ROWS).encode()),
        ("heading in Latin-1", "Winkel (°)\n".encode("latin-1") + "\n".join(ROWS).encode()),
        ("index", "\n".join(f"{i} {v}" for i, v in enumerate(ROWS)).encode()),
        ("index from 1", "\n".join(f"{i + 1};{v}" for i, v in enumerate(ROWS)).encode()),
        ("index, comma", "\n".join(f"{i},{v}" for i, v in enumerate(ROWS)).encode()),
        ("decimal comma", "\n".join(COMMA).encode()),
        ("index, decimal comma", "\n".join(f"{i};{v}" for i, v in enumerate(COMMA)).encode()),
        ("tab, decimal comma", "\n".join(f"{i}\t{v}" for i, v in enumerate(COMMA)).encode()),
        ("semicolons", ";".join(ROWS).encode()),
        ("a line of commas", ", ".join(ROWS).encode()),
        ("semicolons, decimal comma", ";".join(COMMA).encode()),
        ("brackets", ("[" + ", ".join(ROWS) + "]").encode()),
        ("quotes", "\n".join(f'"{v}"' for v in ROWS).encode()),
        ("degree signs", "\n".join(f"{v}°" for v in ROWS).encode()),
        ("six a line", "\n".join(" ".join(ROWS[i : i + 6]) for i in range(0, 180, 6)).encode()),
        ("seven a line", "\n".join(" ".join(ROWS[i : i + 7]) for i in range(0, 180, 7)).encode()),
        ("log", ("frame,time_s,angle_deg,current\n"
                 + "\n".join(f"{i},{i * 0.25},{v},9{i % 2}" for i, v in enumerate(ROWS))).encode()),
        ("units apart", ("n  angle [deg]\n"
                         + "\n".join(f"{i} {v}" for i, v in enumerate(ROWS))).encode()),
        ("names of files", ("file,angle [deg]\n"
                            + "\n".join(f"p_{i}.tif,{v}" for i, v in enumerate(ROWS))).encode()),
        ("colons", ("Proj\tAngle(deg)\n"
                    + "\n".join(f"{i + 1}:\t{v}" for i, v in enumerate(ROWS))).encode()),
        ("exponents of Fortran", "\n".join(f"{v:.6E}".replace("E", "D") for v in DEGREES).encode()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_dialects(tmp_path, name, data):
    path = tmp_path / "angles.csv"
    path.write_bytes(data)
    found, unit = read_angle_list(path)
    np.testing.assert_allclose(found, DEGREES)
    assert unit in (None, "degrees")


def test_whole_degrees_beside_their_index(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"{i} {i}" for i in range(90)))
    np.testing.assert_array_equal(read_angle_list(tmp_path / "a.txt")[0], np.arange(90))
    (tmp_path / "b.txt").write_text("\n".join(f"{i},{2 * i}" for i in range(90)))
    np.testing.assert_array_equal(read_angle_list(tmp_path / "b.txt")[0], 2 * np.arange(90))
    np.save(tmp_path / "c.npy", np.stack([np.arange(90), 2.5 * np.arange(90)], axis=1))
    np.testing.assert_array_equal(read_angle_list(tmp_path / "c.npy")[0], 2.5 * np.arange(90))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0\n1\nstop\n3", ("line 3", "'stop'")),
        ("0 1 9\n1 2 7\n2 1 8", ("3 numbers a line", "line 1: 0 1 9")),
        ("0,0\n1,2\n2,4\n3,6", ("'1,2'", "decimal comma", "count")),
        ("angle\nnone", ("no line of numbers alone", "begins 'angle'")),
        ("0 0.0 20.1\n1 1.0 20.3\n2 2.0 20.2", ("3 numbers a line", "not clear")),
    ],
)
def test_what_is_odd_is_named(tmp_path, text, words):
    (tmp_path / "angles.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        read_angle_list(tmp_path / "angles.txt")
    for word in ("angles.txt", "Expected: ", *words):
        assert word in str(caught.value), str(caught.value)


def test_times_beside_angles_are_not_the_angles(tmp_path):
    path = tmp_path / "angles.csv"
    path.write_text("\n".join(f"{v},{1.7e9 + 0.5 * v}" for v in range(180)))
    with pytest.raises(InputError, match="which of them are the angles is not clear"):
        read_angle_list(path)


def test_a_remark_may_speak_of_a_turn(tmp_path):
    path = tmp_path / "angles.txt"
    path.write_text("# half a turn\n" + "\n".join(map(str, DEGREES)))
    found, unit = read_angle_list(path)
    np.testing.assert_allclose(found, DEGREES)
    assert unit is None


@pytest.mark.parametrize(
    "heading",
    ["angle (grad)", "theta [gon]", "angle_arcmin", "theta (turns)", "# revolutions",
     "angle [urad]", "# \u00b5deg", "position [steps]"],
)  # fmt: skip
def test_another_unit_in_the_heading_is_refused(tmp_path, heading):
    path = tmp_path / "angles.csv"
    path.write_text(f"{heading}\n" + "\n".join(f"{v / 0.9:.6g}" for v in DEGREES))
    with pytest.raises(
        InputError, match=r"has the unit '(grad|gon|arcmin|turns|revolutions|urad|\u00b5deg|steps)'"
    ):
        read_angle_list(path)


@pytest.mark.parametrize(
    ("heading", "factor"),
    [("theta_rad", np.pi / 180), ("angle (mrad)", np.pi / 0.18), ("mdeg", 1e3), ("theta", 1)],
)
def test_the_unit_of_a_heading(tmp_path, heading, factor):
    path = tmp_path / "angles.txt"
    path.write_text(f"# {heading}\n" + "\n".join(f"{v * factor:.9g}" for v in DEGREES))
    found = chosen_angles(ReadOptions(angles=path), "scan", 180)
    np.testing.assert_allclose(found, np.radians(DEGREES), atol=1e-7)


def test_a_damaged_list_is_named_and_not_the_scan(tmp_path):
    np.save(tmp_path / "scan.npy", np.ones((4, 3, 5), np.float32))
    np.save(tmp_path / "angles.npy", DEGREES)
    content = (tmp_path / "angles.npy").read_bytes()
    (tmp_path / "angles.npy").write_bytes(content.replace(b"}", b" "))
    with pytest.raises(InputError, match=r"angles\.npy could not be read"):
        read_raw_scan(tmp_path / "scan.npy", ReadOptions(angles=tmp_path / "angles.npy"))


def refused(angles, *words, **how):
    with pytest.raises(InputError) as caught:
        angles_in_radians(angles, "scan.h5", **how)
    for word in words:
        assert word in str(caught.value)


def test_smaller_units_are_suspected():
    refused(DEGREES * 1e3, "smaller unit", 'angle_unit="millidegrees"')
    refused(np.arange(1800) * 100.0, "smaller unit")  # 0 to 180 degrees in steps of 0.1
    found = angles_in_radians(DEGREES * 1e3, "scan.h5", insisted="millidegrees")
    np.testing.assert_allclose(found, np.radians(DEGREES))
    golden = np.arange(400) * 222.4922359
    np.testing.assert_allclose(angles_in_radians(golden, "scan.h5"), np.radians(golden))
    turns = np.arange(3600) * 1.0
    np.testing.assert_allclose(angles_in_radians(turns, "scan.h5"), np.radians(turns))


def test_one_angle_for_all_is_none():
    refused(np.zeros(20), "20 angles that are all 0", "arc_degrees=180")


def test_minus_signs_of_typesetters(tmp_path):
    rows = [f"{v:.1f}".replace("-", "\N{MINUS SIGN}") for v in DEGREES - 90]
    (tmp_path / "a.txt").write_text("\n".join(rows), encoding="utf-8")
    np.testing.assert_allclose(read_angle_list(tmp_path / "a.txt")[0], DEGREES - 90)


@pytest.mark.parametrize(
    "text",
    ["1" * 100_000, "1\n" * 600_000, "-" * 1000, "0\n1\n" + "7" * 500 + "x\n"],
    ids=["a number without end", "too many", "a line", "a word"],
)
def test_lists_without_end_are_refused_at_once_and_in_short(tmp_path, text):
    (tmp_path / "angles.txt").write_text(text)
    with pytest.raises(InputError, match="is not a list of angles") as caught:
        read_angle_list(tmp_path / "angles.txt")
    assert len(str(caught.value)) < 600
