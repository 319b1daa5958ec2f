"""What is written holds: links lead somewhere, commands parse, code in pages is code that ran."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import textwrap
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import diffusionblend
from diffusionblend.cli import main as cli
from diffusionblend.cli.commands import COMMANDS, first_words
from diffusionblend.errors import InputError
from diffusionblend.methods import METHODS
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "src").rglob("README.md")),
]
TUTORIALS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)+", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
OPTION = re.compile(r"--[a-z][a-z0-9.-]*")
SCHEME = re.compile(r"(?:https?|mailto):")

OTHER_PROGRAMS = {
    *("--nproc-per-node", "--num-processes", "--nnodes", "--rdzv-backend", "--rdzv-endpoint"),
    *("--standalone", "--strict", "--basetemp", "--array", "--gres", "--time", "--requeue"),
    *("--nodes", "--ntasks", "--ntasks-per-node", "--cpus-per-task", "--signal", "--version"),
    *("--group", "--help-all", "--update-golden", "--index-url", "--open-mode", "--nv"),
}
"""Options of torchrun, accelerate, SLURM, MkDocs, pip, pytest and Apptainer that the pages name."""


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def prose_of(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return INDENTED.sub("\n", FENCE.sub("", page.read_text("utf-8")))


def anchors_of(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    titles = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    plain = (re.sub(r"[^\w\- ]", "", title.lower()).strip() for title in titles)
    return {title.replace(" ", "-") for title in plain}


def code_lines_of(page: Path) -> list[str]:
    """Lines of code of a page, those of blocks and those that go on after a backslash joined."""
    text = page.read_text("utf-8")
    blocks = [body for language, body in FENCE.findall(text) if language != "python"]
    blocks += INDENTED.findall(FENCE.sub("", text))
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def commands_of(page: Path) -> list[list[str]]:
    """The arguments of every `diffusionblend ...` in a page's code, and of whole ones in prose."""
    lines = code_lines_of(page) + INLINE.findall(prose_of(page))
    found = []
    for line in lines:
        line = re.sub(r"\$\{?SLURM_ARRAY_TASK_ID\}?", "0", line)
        line = re.sub(r"\$\{?SLURM_ARRAY_TASK_COUNT\}?", "4", line)
        match = re.search(r"(?:^|-m )diffusionblend (.+)$", line)
        if match and "COMMAND" not in line and "..." not in line.partition("#")[0]:
            command = re.sub(r" >>? \S+$", "", match.group(1).strip())
            found.append(shlex.split(command, comments=True))
    return found


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of every command by its long name, and of the scripts of benchmarks/."""
    pages = [help_of(), *(help_of(*name.split()) for name in COMMANDS)]
    pages += [help_of("reconstruct", "--method", method) for method in METHODS]
    with_step = ("reconstruct", "--method", "dds", "--consistency")
    pages += [help_of(*with_step, step) for step in CONSISTENCY_STEPS]
    found = {option for page in pages for option in OPTION.findall(page)}
    for script in (REPOSITORY / "benchmarks").rglob("*.py"):
        found |= set(OPTION.findall(script.read_text("utf-8")))
    return found


@cache
def help_of(*words: str) -> str:
    """The whole help of a command."""
    text = cli.command_of([*words, "--help-all"])
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    dead = []
    for target in LINK.findall(prose_of(page)):
        if SCHEME.match(target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        missing = not file.exists() or not file.is_relative_to(REPOSITORY)
        if missing or (anchor and anchor not in anchors_of(file)):
            dead.append(target)
    assert not dead


@cache
def wrong_usage(arguments: tuple[str, ...]) -> str | None:
    """What the command line has against these arguments; the words of a command alone will do."""
    name = " ".join(arguments)
    if name in COMMANDS or name in first_words():
        return None
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        try:
            cli.command_of(list(arguments))
        except InputError as error:
            return str(error)
        except SystemExit as stop:
            return printed.getvalue() if stop.code else None
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_page_parses(page):
    found = {" ".join(command): wrong_usage(tuple(command)) for command in commands_of(page)}
    assert not {command: wrong for command, wrong in found.items() if wrong}


def test_commands_are_found_in_pages_and_wrong_ones_refused():
    found = {name_of(page): [c[0] for c in commands_of(page)] for page in PAGES}
    assert {"import", "reconstruct", "train"} <= set(found["README.md"])
    assert "benchmark" in found["docs/choosing-a-method.md"]  # over several lines
    assert "reconstruct" in found["docs/several-gpus.md"]  # after torchrun, in a table
    assert wrong_usage(("scan", "a.nii.gz")) and wrong_usage(("methods", "--jsn"))
    assert wrong_usage(("simulate", "a.nii.gz", "-o", "a.h5", "--views", "many"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_in_prose_exists(page, options):
    named = {o for span in INLINE.findall(prose_of(page)) for o in OPTION.findall(span)}
    assert not {o for o in named if not o.endswith(".")} - options - OTHER_PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_script_that_a_page_runs_is_there(page):
    named = re.findall(r"python ((?:benchmarks|examples)/\w+\.py)", page.read_text("utf-8"))
    assert not [script for script in named if not (REPOSITORY / script).is_file()]


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_the_python_of_tutorials_is_that_of_the_examples(page):
    examples = "\n".join(p.read_text("utf-8") for p in (REPOSITORY / "examples").glob("*.py"))
    for language, block in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            inner = textwrap.indent(block, "    ")
            assert block in examples or inner in examples, f"no example has this code:\n{block}"


PUBLIC = ("", ".methods", ".geometry", ".operators", ".data", ".priors", ".units")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_imports_everything(page):
    assert not re.search(r"import \*", page.read_text("utf-8"))


@pytest.mark.parametrize("page", [p for p in PAGES if p not in TUTORIALS], ids=name_of)
def test_names_in_the_python_of_other_pages_are_exported(page):
    for language, block in FENCE.findall(page.read_text("utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "db":
                assert node.attr in diffusionblend.__all__, node.attr
            if isinstance(node, ast.ImportFrom):
                module = import_module(node.module)
                assert {alias.name for alias in node.names} <= set(module.__all__)


def test_every_public_name_stands_in_the_reference():
    text = (REPOSITORY / "docs" / "python-api.md").read_text("utf-8")
    documented = set(re.findall(r"^::: (diffusionblend[\w.]*)$", text, re.MULTILINE))
    public = {}
    for room in PUBLIC:
        module = import_module(f"diffusionblend{room}")
        for name in getattr(module, "__all__", ()):
            if isinstance(getattr(module, name), ModuleType):
                continue
            public.setdefault(getattr(module, name), []).append(f"diffusionblend{room}.{name}")
    undocumented = [names[0] for names in public.values() if not documented & set(names)]
    assert undocumented == ["diffusionblend.__version__"]
    assert documented <= {name for names in public.values() for name in names}


def test_the_navigation_names_every_page():
    # the pages made when the site is built are named there too; the build itself checks those
    navigation = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    docs = REPOSITORY / "docs"
    left_out = [
        page.relative_to(docs).as_posix()
        for page in docs.rglob("*.md")
        if f": {page.relative_to(docs).as_posix()}\n" not in navigation
    ]
    assert not left_out


def test_every_shipped_prior_has_a_page_of_the_site():
    navigation = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    cards = list((REPOSITORY / "src/diffusionblend/priors/weights").glob("*/README.md"))
    assert cards
    assert not [c.parent.name for c in cards if f": prior-{c.parent.name}.md\n" not in navigation]


EMPHASIS = re.compile(r"(?<![*\w\\])\*(?![*\s])[^*\n]*(?<![*\s\\])\*(?!\*)")


def formulas_in_emphasis(text: str) -> list[str]:
    """Stretches that Markdown sets in italics though they are a formula with `*` in it."""
    prose = INDENTED.sub("\n", FENCE.sub("", text))
    prose = re.sub(r"`[^`\n]*`|\$[^$\n]*\$", "", prose)
    lone = re.findall(r"(?<![\\*])\b[A-Z]\*[A-Za-z(]\S*", prose)
    inner = [span for span in EMPHASIS.findall(prose) if re.search(r"[=+^]|\b[A-Z] [a-z]\b", span)]
    return lone + inner


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_formula_is_eaten_by_markdown(page):
    assert not formulas_in_emphasis(page.read_text("utf-8"))


def test_formulas_in_emphasis_are_found():
    assert formulas_in_emphasis("conjugate gradients on A*A z = A*y, started at x0")
    assert formulas_in_emphasis("by z = x0 + A*(AA* + rho I)^-1 (y - A x0)")
    assert not formulas_in_emphasis("on `A*A z = A*y`, and *never* in **bold** = text; $A*y$")


def test_examples_in_help_and_python_pages_run_without_a_prior_of_ones_own():
    from diffusionblend.priors.store import shipped_of_type

    named = [
        words[i + 1]
        for entry in COMMANDS.values()
        for words in map(str.split, entry.examples)
        for i, word in enumerate(words)
        if word in ("settings", "--method") and words[i + 1] in METHODS
    ]
    page = (REPOSITORY / "docs" / "python-api.md").read_text("utf-8")
    in_python = re.findall(r'reconstruct\(scan, "([^"]+)"', page)
    assert named and in_python
    for name in (*named, *in_python):
        prior = METHODS[name].prior
        assert prior is None or (shipped_of_type(prior.prior_type) and not prior.coronal), name
