"""Pages of the site that are no files of docs/: made when it is built, by hooks of MkDocs.

The command line's reference is the help of every command, the examples are their scripts, and the
changelog and the like are the repository's own files. Links of all pages are written for a reader
of the repository; here those that lead out of docs/ are turned to the pages made.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from html import unescape
from importlib import import_module
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parent.parent
WEIGHTS = "src/diffusionblend/priors/weights"
PRIORS = sorted(path.parent.name for path in (REPOSITORY / WEIGHTS).glob("*/README.md"))
TAKEN_IN = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    **{f"prior-{name}.md": f"{WEIGHTS}/{name}/README.md" for name in PRIORS},
}
"""Page of the site: file of the repository. The card of every shipped prior is among them."""
MOVED = {"README.md": "index.md"}
"""File of the repository: the page of the site that replaces it."""
PYTHON = "python-api.md"
NAMED = re.compile(r"^::: (diffusionblend[\w.]*)\.(\w+)$", re.MULTILINE)
HELP_COLUMNS = "100"
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
FORMULA = re.compile(
    r"<(span|div) class=\"arithmatex\">(?:\\\((.+?)\\\)|\\\[(.+?)\\\])</\1>", re.DOTALL
)
FOREIGN = re.compile(r"<(?:script|img|link rel=\"stylesheet\")[^>]*(?:src|href)=\"https?:[^\"]*\"")
CELL = re.compile(r"(?<=<td)(?: [^>]*)?>[^<]*(?=</td>)")
TRIPLE = re.compile(r"\([^()]*\d / [^()]*\)")
IMAGE = re.compile(r"<img [^>]*\bsrc=\"([^\"]+)\"[^>]*>")
LEFT_TEX = re.compile(r"class=\"arithmatex\"[^<]*<")
SCHEME = re.compile(r"[a-z]+:")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """All pages: those of docs/ and those that are made."""
    made = {page: (REPOSITORY / path).read_text("utf-8") for page, path in TAKEN_IN.items()}
    made["command-line.md"] = command_line_page()
    made["examples.md"] = examples_page()
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links turned to pages of the site."""
    name = page.file.src_uri
    if name == PYTHON:
        markdown = NAMED.sub(directive, markdown)
    origin = TAKEN_IN.get(name, f"docs/{name}")

    def turned(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if SCHEME.match(target):
            return match.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        found, anchor = page_of(path)
        if found is None:
            raise PluginError(f"{origin} links to {target}, of which the site has no page")
        return before + posixpath.relpath(found, posixpath.dirname(name) or ".") + anchor + after

    return LINK.sub(turned, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its formulas as MathML, which browsers draw by themselves.

    Figures by patient, "(32.9 / 29.7 / 29.3)", stay on one line of a table's cell, and a picture
    leads to itself, so that on a phone it can be enlarged.
    """
    html = FORMULA.sub(lambda match: mathml(match[2] or match[3], bool(match[3])), html)
    html = CELL.sub(lambda cell: TRIPLE.sub(r'<span class="together">\g<0></span>', cell[0]), html)
    html = IMAGE.sub(r'<a class="picture" href="\1">\g<0></a>', html)
    return with_import_paths(html) if page.file.src_uri == PYTHON else html


def mathml(formula: str, is_display: bool) -> str:
    """A formula of TeX, as HTML holds it, as MathML."""
    return convert(unescape(formula).strip(), display="block" if is_display else "inline")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The page, if it loads nothing from elsewhere and no formula is left as TeX."""
    if found := FOREIGN.findall(output) + LEFT_TEX.findall(output):
        raise PluginError(f"{page.file.src_uri} loads, or leaves as TeX: {found[:3]}")
    return output


def with_import_paths(html: str) -> str:
    """The page of Python with classes headed by the path to import them from, as functions are."""
    source = (REPOSITORY / "docs" / PYTHON).read_text("utf-8")
    paths = {name: f"{module}.{name}" for module, name in NAMED.findall(source)}
    heading = re.compile(r'(doc-class-name">)(\w+)(?=</span>)')
    return heading.sub(lambda match: match[1] + paths.get(match[2], match[2]), html)


def page_of(path: str) -> tuple[str | None, str]:
    """The page of a file of the repository, by its path, and the anchor there."""
    for page, taken in TAKEN_IN.items():
        if path == taken:
            return page, ""
    if path in MOVED:
        return MOVED[path], ""
    if path.startswith("examples/"):
        return "examples.md", f"#{posixpath.basename(path).replace('.', '')}".rstrip("#")
    return (path.removeprefix("docs/"), "") if path.startswith("docs/") else (None, "")


def directive(match: re.Match[str]) -> str:
    """The reference of a public name: taken from where it is defined, headed by its import path."""
    module, name = match.groups()
    found = getattr(import_module(module), name)
    home = found.__module__ if getattr(found, "__name__", "") == name else module
    options = f'    options:\n      heading: "{module}.{name}"\n      toc_label: "{name}"'
    return f"::: {home}.{name}\n{options}"


def command_line_page() -> str:
    """The whole help of every command, and of `reconstruct` with every method."""
    from diffusionblend.cli.commands import COMMANDS
    from diffusionblend.methods import METHODS

    parts = [
        "# Command line\n\nWhat `--help-all` prints; `--help` prints the basic options alone.\n"
    ]
    parts.append(f"```text\n{help_of()}\n```\n")
    for name in COMMANDS:
        parts.append(f"## {name}\n\n```text\n{help_of(*name.split())}\n```\n")
        for method in METHODS if name == "reconstruct" else ():
            words = (name, "--method", method)
            parts.append(f"### {' '.join(words)}\n\n```text\n{help_of(*words)}\n```\n")
    return "\n".join(parts)


def help_of(*words: str) -> str:
    """What `diffusionblend WORDS --help-all` prints."""
    from diffusionblend.cli.main import command_of

    os.environ["COLUMNS"] = HELP_COLUMNS
    return str(command_of([*words, "--help-all"])).rstrip()


def examples_page() -> str:
    """The scripts of examples/, each under its name, and what the notebooks are."""
    parts = [
        "# Examples\n\nShort scripts of arrays in and arrays out, in the folder `examples/`; the "
        "tests run each in a small setting. `python examples/NAME --help` shows their options.\n"
    ]
    for path in sorted((REPOSITORY / "examples").glob("*.py")):
        parts.append(f"## {path.name}\n\n```python\n{path.read_text('utf-8').rstrip()}\n```\n")
    parts.append("## Notebooks\n\nTo be opened with Jupyter, in `examples/notebooks/`:\n")
    for path in sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
        parts.append(f"- `{path.name}`: {first.splitlines()[0].lstrip('# ')}")
    return "\n".join(parts)
