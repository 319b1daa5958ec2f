"""The stubs are the public names: each is there, is documented, and is what type checkers see."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

import diffusionblend

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("diffusionblend", *(f"diffusionblend.{p}" for p in ("data", "methods", "priors")))
ALL_PACKAGES = (*PACKAGES, "diffusionblend.geometry", "diffusionblend.operators")


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


@pytest.mark.parametrize("name", ALL_PACKAGES)
def test_public_classes_and_functions_are_documented(name):
    package = importlib.import_module(name)
    for public in package.__all__:
        value = getattr(package, public)
        assert not callable(value) or value.__doc__, public


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        diffusionblend.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("package", "name", "said"),
    [
        ("diffusionblend", "reconstuct", "did you mean reconstruct?"),
        ("diffusionblend", "stack", "it is in diffusionblend.operators"),
        ("diffusionblend.methods", "DDS", "did you mean Dds?"),
        ("diffusionblend.priors", "Partitions", "did you mean Partition?"),
    ],
)
def test_a_misspelt_or_misplaced_name_is_told(package, name, said):
    with pytest.raises(AttributeError) as caught:
        getattr(importlib.import_module(package), name)
    assert str(caught.value) == f"module {package!r} has no attribute {name!r}; {said}"


def test_the_package_is_typed():
    assert Path(diffusionblend.__file__).with_name("py.typed").is_file()


def test_mypy_checks_the_home_of_every_public_name():
    """All modules but the compiled kernels, none of which is a home of a public name."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["files"] == ["src/diffusionblend"]
    left_out = re.compile("|".join(settings["exclude"]))
    source = REPOSITORY / "src"
    unchecked = {p.stem for p in source.rglob("*.py") if left_out.search(p.as_posix())}
    assert unchecked == {"cpu", "cuda", "slices"}
    for name in ALL_PACKAGES:
        package = importlib.import_module(name)
        for public in package.__all__:
            home = getattr(getattr(package, public), "__module__", name)
            place = source.joinpath(*home.split("."))
            files = [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()]
            if home.startswith("diffusionblend"):
                assert files and not left_out.search(files[0].as_posix()), f"{public}: {home}"


def test_what_is_added_from_outside_needs_public_modules_only():
    public = {*PACKAGES, *(f"diffusionblend.{p}" for p in ("geometry", "operators", "units"))}
    sources = [
        (REPOSITORY / "examples" / "own_method.py").read_text(),
        (REPOSITORY / "examples" / "own_geometry.py").read_text(),
    ]
    for test in (
        "cli/test_method_of_another_package.py",
        "priors/test_plug_in_type.py",
        "geometry/test_geometry_of_another_package.py",
    ):
        tree = ast.parse((REPOSITORY / "tests" / test).read_text())
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
