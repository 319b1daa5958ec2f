"""Classes by name: built-in ones, and those that an installed package adds by entry point."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pytest

from diffusionblend.errors import InputError
from diffusionblend.registry import Registry

GROUP = "diffusionblend.test_things"
BASE = "collections.abc:Mapping"


def things(base: str | None = None) -> Registry:
    return Registry(
        "thing", GROUP, {"plain": "builtins:dict", "ordered": "collections:OrderedDict"}, base
    )


def install(folder: Path, package: str, line: str, source: str = "") -> None:
    """A package as pip leaves it: its .dist-info, and its module where it has one."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{line}\n")
    if source:
        (folder / f"{package}.py").write_text(source)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path for packages; their modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_built_in_names_keep_their_order_and_load_their_classes():
    assert things().names() == ("plain", "ordered") == tuple(things())
    assert things()["plain"] is dict
    assert "ordered" in things() and "missing" not in things()
    assert things().package_of("plain") is None


def test_it_is_a_mapping_that_cannot_be_changed():
    assert isinstance(things(), Mapping)
    assert dict(things()) == {"plain": dict, "ordered": OrderedDict}
    assert len(things()) == 2 and things().get("missing") is None
    assert repr(things()) == "<Registry of the kind 'thing': plain, ordered>"
    with pytest.raises(TypeError):
        things()["plain"] = list


def test_an_unknown_name_is_a_key_error_with_a_message():
    with pytest.raises(KeyError) as caught:
        things()["ordred"]
    assert isinstance(caught.value, InputError)
    assert str(caught.value) == (
        "There is no thing 'ordred'.\nExpected: one of plain, ordered\nTry: did you mean ordered?"
    )


def test_an_installed_package_adds_a_class(site):
    install(site, "shelf", "counted = shelf:Counted", "class Counted(dict): pass")
    assert things().names() == ("plain", "ordered", "counted")
    found = things(BASE)["counted"]
    assert found.__module__ == "shelf" and found.__name__ == "Counted"
    assert "counted" in things() and things().package_of("counted") == "shelf"


def test_nothing_of_another_package_is_imported_before_it_is_asked_for(site):
    install(site, "shelf", "counted = shelf:Counted", "raise RuntimeError('imported')")
    assert "counted" in things().names()
    assert things()["plain"] is dict


def test_an_unknown_name_is_refused_with_the_known_ones_and_a_near_one():
    with pytest.raises(InputError) as caught:
        things()["orderd"]
    assert caught.value.got == "There is no thing 'orderd'."
    assert caught.value.expected == "one of plain, ordered"
    assert caught.value.try_ == "did you mean ordered?"
    with pytest.raises(InputError) as caught:
        things()["zzz"]
    assert caught.value.try_ == ""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("", "No module named 'shelf'"),
        ("Other = 1", "AttributeError"),
        ("Counted = dict()", "not derived from Mapping"),
        ("class Counted: pass", "not derived from Mapping"),
    ],
)
def test_a_broken_package_is_named(site, source, words):
    install(site, "shelf", "counted = shelf:Counted", source)
    with pytest.raises(InputError, match="of the package shelf") as caught:
        things(BASE)["counted"]
    assert words in str(caught.value)


def test_a_built_in_name_cannot_be_taken(site):
    install(site, "shelf", "plain = shelf:Counted", "class Counted(dict): pass")
    assert things().names() == ("plain", "ordered")
    assert things()["plain"] is dict


def test_a_name_of_two_packages_is_refused_with_both(site):
    install(site, "shelf", "counted = shelf:Counted", "class Counted(dict): pass")
    install(site, "cupboard", "counted = cupboard:Counted", "class Counted(dict): pass")
    with pytest.raises(InputError, match="is in 2 packages: cupboard, shelf"):
        things()["counted"]
    assert things().names().count("counted") == 1


def test_what_can_be_had_is_there_without_what_cannot(site):
    install(site, "shelf", "counted = shelf:Counted", "class Counted(dict): pass")
    install(site, "ruin", "fallen = ruin:Fallen", "import no_such_module_at_all")
    with pytest.warns(UserWarning, match=r"'fallen' of the package ruin cannot be imported.*left"):
        found = things(BASE).usable()
    assert list(found) == ["plain", "ordered", "counted"]
    assert found["plain"] is dict and found["counted"].__name__ == "Counted"


def test_a_start_does_not_look_for_other_packages():
    """Which takes 15 to 50 ms, in the child process that reads files too."""
    code = (
        "import sys, diffusionblend.io.projections, diffusionblend.cli.main; "
        "import diffusionblend.runs.record; "
        "print('importlib.metadata' in sys.modules); "
        "from diffusionblend.methods import METHODS; METHODS.names(); "
        "print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
