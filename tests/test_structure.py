"""The plan of the house, held by reading the source: who imports whom, who opens files, sizes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "diffusionblend"
SOURCES = sorted(PACKAGE.rglob("*.py"))

VALUES = {"errors", "public_names", "registry", "units", "geometry", "data"}
MAY_IMPORT = {
    "errors": set(),
    "public_names": {"errors"},
    "registry": {"errors"},
    "units": set(),
    "memory": set(),
    "ranks": set(),
    "devices": {"errors", "ranks"},
    "geometry": {"errors", "registry"},
    "data": {"errors", "public_names", "units", "geometry", "memory"},
    "io": VALUES | {"memory"},
    "operators": VALUES,
    "priors": VALUES | {"io", "phantom"},
    "phantom": VALUES,
    "preprocessing": VALUES,
    "simulation": VALUES | {"operators", "memory"},
    "solvers": VALUES | {"operators"},
    "methods": VALUES | {"operators", "solvers", "priors", "ranks", "devices", "memory"},
    "adapters": VALUES | {"operators", "methods", "priors"},
    "training": VALUES | {"io", "priors", "phantom", "ranks", "solvers", "operators"},
    "runs": VALUES | {"io", "priors", "methods"},
    "evaluation": VALUES | {"io"},
    "report": VALUES | {"io", "evaluation"},
    "benchmarking": VALUES
    | {"io", "evaluation", "methods", "priors", "runs", "simulation", "report"},
    "viewer": VALUES | {"io", "evaluation", "report"},
}
"""Each room and the rooms it may import beside itself; `cli` stands above them all."""

HEAVY = {"SimpleITK", "skimage", "matplotlib", "pydicom", "h5py", "scipy", "diffusers"} | {
    *("accelerate", "tensorboard", "numba", "triton", "openvino", "nncf")
}
COMPILED = {
    "operators/kernels/cpu.py": {"numba"},
    "operators/kernels/slices.py": {"numba"},
    "operators/kernels/columns.py": set(),
    "operators/kernels/cuda.py": {"triton"},
}
"""The modules that need a compiler with themselves; they are imported in functions only."""
COMPILED_MODULES = {
    f"diffusionblend.{path.removesuffix('.py').replace('/', '.')}" for path in COMPILED
}
ROOMS_WITH_TORCH = {"operators", "solvers", "priors", "methods", "training", "adapters"}
MAY_TOUCH_FILES = {
    "memory.py",
    "priors/description.py",
    "priors/integer_engine.py",
    "priors/precision.py",
    "priors/prior.py",
    "priors/trained_network.py",
    "priors/store.py",
    "adapters/diffusers.py",
    "training/loop.py",
    "training/cache.py",
    "training/checkpoint.py",
    "training/cost.py",
    "training/log.py",
    "training/patients.py",
    "report/figures.py",
    "report/comparison.py",
    "report/html.py",
    "viewer/page.py",
}
"""Beside io, runs, benchmarking and cli, which are there for it."""
FILE_CALLS = {
    *("open", "read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "unlink", "glob"),
    *("iterdir", "rglob", "savefig", "load_file", "save_file", "save_pretrained", "is_file"),
    *("from_pretrained", "is_dir", "exists"),
}
CIRCLES: set[frozenset[str]] = set()
"""Modules that need each other. To be emptied, where there are any; never to be added to."""
PEERS = {"itk", "astra", "tigre", "leapctype"}
"""Projectors of others, for benchmarks alone; ASTRA's licence is the GPL."""
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def room_of(path: Path) -> str:
    """`methods` for methods/fbp.py, `volume` for volume.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere below, in functions and for types too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_modules_at(node: ast.stmt) -> set[str]:
    """What a statement of a module imports itself."""
    return imported_modules(node) if isinstance(node, ast.Import | ast.ImportFrom) else set()


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for module in imported_modules(tree_of(path)):
        package, _, rest = module.partition(".")
        if package == "diffusionblend" and rest not in ("", "__version__"):
            rooms.add(rest.partition(".")[0])
    return rooms


def top_level_imports(path: Path) -> set[str]:
    """The packages imported when the module is, not those for types alone or in functions."""
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {m.partition(".")[0] for m in imported_modules(node)}
    return found


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    """`diffusionblend.methods` for methods/__init__.py."""
    parts = ("diffusionblend", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in SOURCES}


def modules_needed_by(path: Path) -> set[str]:
    """The modules of the package that one needs, at any time: by import or by a name in a string.

    Not the package itself for its version, a constant that stands there before anything else.
    """
    tree = tree_of(path)
    needed = named_in_strings(tree)
    for node in nodes_but_for_types(tree):
        if isinstance(node, ast.Import):
            needed |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            needed |= {n if n in MODULES else str(node.module) for n in names - VERSION}
    return needed & MODULES - {module_of(path), "diffusionblend"}


VERSION = {"diffusionblend.__version__"}


def nodes_but_for_types(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below one, without the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from nodes_but_for_types(other)
        else:
            yield child
            yield from nodes_but_for_types(child)


def named_in_strings(tree: ast.Module) -> set[str]:
    """Modules named as "diffusionblend.a.b:Name", or by an end that import_module is given."""
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    texts, starts = set(), {""}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            texts.add("".join(text_of(part, constants) for part in node.values))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            starts |= {
                text_of(argument.values[0], constants)
                for argument in node.args
                if isinstance(argument, ast.JoinedStr)
            }
    whole = {start + text.partition(":")[0] for start in starts for text in texts}
    return whole & MODULES


def text_of(part: ast.expr, constants: dict[str, object]) -> str:
    """A part of an f-string where it is a constant, else nothing."""
    if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
        return str(constants.get(part.value.id, ""))
    return str(part.value) if isinstance(part, ast.Constant) else ""


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The largest sets of modules each of which needs all others, directly or not."""
    reached = {module: set(others) for module, others in graph.items()}
    grown = True
    while grown:
        grown = False
        for others in reached.values():
            more = set().union(*(reached.get(other, set()) for other in others)) - others
            grown, _ = grown or bool(more), others.update(more)
    return {
        frozenset(m for m in others if module in reached.get(m, set()))
        for module, others in reached.items()
        if module in others
    }


def test_every_room_is_in_the_plan():
    assert {room_of(p) for p in SOURCES} == {*MAY_IMPORT, "cli", "__init__", "__main__"}


def test_imports_between_rooms_go_one_way():
    wrong = [
        f"{relative(path)} imports {other}"
        for path in SOURCES
        if (room := room_of(path)) in MAY_IMPORT
        for other in sorted(imported_rooms(path) - {room} - MAY_IMPORT[room])
    ]
    assert not wrong


def test_the_plan_itself_has_no_circle():
    left = dict(MAY_IMPORT)
    while left:
        free = [room for room, others in left.items() if not others & set(left)]
        assert free, f"these import each other: {sorted(left)}"
        for room in free:
            del left[room]


def test_contributing_lists_the_rooms_floor_by_floor():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.search(r"imports go one way:\n(.+?)\.\s", text, re.DOTALL)[1]
    floors = [re.findall(r"`(\w+)`", floor) for floor in listed.split("->")]
    below: set[str] = set()
    for floor in floors:
        assert all(MAY_IMPORT.get(room, set()) <= below for room in floor), floor
        below |= set(floor)
    assert below == {*MAY_IMPORT, "cli"}


def test_no_modules_import_each_other():
    """Imports within functions count, and names in strings; imports for types alone do not."""
    graph = {module_of(path): modules_needed_by(path) for path in SOURCES}
    assert circles(graph) == CIRCLES


def test_a_circle_through_a_string_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}
    table = ast.parse('HERE = "diffusionblend.methods"\nTABLE = {"fbp": f"{HERE}.fbp:Fbp"}')
    assert named_in_strings(table) - {"diffusionblend.methods"} == {"diffusionblend.methods.fbp"}
    lazy = ast.parse('HOMES = {"Fbp": "methods.fbp"}\nimport_module(f"diffusionblend.{HOMES[n]}")')
    assert named_in_strings(lazy) == {"diffusionblend.methods.fbp"}


def test_nothing_imports_the_command_line():
    importers = [relative(p) for p in SOURCES if "cli" in imported_rooms(p) - {room_of(p)}]
    assert importers == ["__main__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_heavy_is_imported_with_a_module(path):
    heavy = top_level_imports(path) & HEAVY
    assert not heavy - COMPILED.get(relative(path), set())
    at_import = {m for node in tree_of(path).body for m in imported_modules_at(node)}
    assert relative(path) in COMPILED or not at_import & COMPILED_MODULES
    if room_of(path) not in ROOMS_WITH_TORCH:
        assert "torch" not in top_level_imports(path)


def test_the_package_imports_no_peer():
    for path in SOURCES:
        packages = {module.partition(".")[0] for module in imported_modules(tree_of(path))}
        assert not packages & PEERS, relative(path)


def test_only_some_rooms_touch_files():
    touching = set()
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                called = node.func
                name = getattr(called, "attr", getattr(called, "id", ""))
                if name in FILE_CALLS and room_of(path) not in (
                    "io",
                    "runs",
                    "benchmarking",
                    "cli",
                ):
                    touching.add(relative(path))
    assert touching <= MAY_TOUCH_FILES


def test_methods_never_see_a_reference():
    for path in (PACKAGE / "methods").glob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.arg):
                assert node.arg not in ("truth", "reference", "ground_truth"), path.name


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples", "docs"])
def test_files_and_functions_stay_short(folder):
    too_long = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        if n_lines > MAX_FILE_LINES:
            too_long.append(f"{path.name} has {n_lines} lines")
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{node.name} in {path.name} has {length} lines")
    assert not too_long


def test_no_file_is_called_utils():
    assert not [p for p in SOURCES if "util" in p.stem or "helper" in p.stem]


def test_what_others_may_call_has_a_docstring():
    silent = []
    for path in SOURCES:
        tree = tree_of(path)
        if not ast.get_docstring(tree):
            silent.append(relative(path))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
            if public and not ast.get_docstring(node):
                silent.append(f"{relative(path)}: {node.name}")
    assert not silent


SENTENCES = 3
IN_THREE = [p for p in SOURCES if {"io", "runs"} & set(p.relative_to(PACKAGE).parts[:1])]


@pytest.mark.parametrize("path", IN_THREE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_errors_about_files_say_what_was_got_and_expected_and_what_to_try(path):
    """The errors that are made in the rooms that read files have all three sentences."""
    made = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "InputError"
        and not any(isinstance(argument, ast.Starred) for argument in node.args)
    ]
    short = [node.lineno for node in made if len(node.args) + len(node.keywords) < SENTENCES]
    assert not short
