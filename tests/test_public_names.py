"""The stubs are the public names: each is there, is documented, and is what type checkers see."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import diffusionblend

PACKAGES = ("diffusionblend", *(f"diffusionblend.{p}" for p in ("data", "methods", "priors")))


def names_in(stub: Path) -> set[str]:
    """The names that a stub gives to type checkers."""
    found = set()
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names), "X as X re-exports"
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.AnnAssign):
            found.add(ast.unparse(node.target))
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stub_and_its_package_have_the_same_names(name):
    package = importlib.import_module(name)
    assert names_in(Path(package.__file__).with_suffix(".pyi")) == set(package.__all__)
    for public in package.__all__:
        assert getattr(package, public) is not None


@pytest.mark.parametrize("name", [*PACKAGES, "diffusionblend.geometry", "diffusionblend.operators"])
def test_public_classes_and_functions_are_documented(name):
    package = importlib.import_module(name)
    for public in package.__all__:
        value = getattr(package, public)
        assert not callable(value) or value.__doc__, public


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        diffusionblend.no_such_name  # noqa: B018


def test_the_package_is_typed():
    assert Path(diffusionblend.__file__).with_name("py.typed").is_file()


def test_what_is_added_from_outside_needs_public_modules_only():
    repository = Path(__file__).resolve().parents[1]
    public = {*PACKAGES, *(f"diffusionblend.{p}" for p in ("geometry", "operators", "units"))}
    sources = [
        (repository / "examples" / "own_method.py").read_text(),
        (repository / "examples" / "own_geometry.py").read_text(),
    ]
    for test in (
        "cli/test_method_of_another_package.py",
        "priors/test_plug_in_type.py",
        "geometry/test_geometry_of_another_package.py",
    ):
        tree = ast.parse((repository / "tests" / test).read_text())
        inner = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and "@dataclass" in str(node.value)
        ]
        assert inner, test
        sources += inner
    for source in sources:
        imported = {
            node.module
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("diffusionblend")
        }
        assert imported <= public, imported - public
