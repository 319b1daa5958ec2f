"""The documentation as a site, opened from the disk: search, formulas, code, wide and narrow.

Skipped where the documentation's dependencies are missing (`make docs` installs them). Pictures of
it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Page, chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parent.parent
SEARCH = """(words) => {
  const toggle = document.querySelector('[data-md-toggle=search]');
  if (!toggle.checked) toggle.click();
  const field = document.querySelector('.md-search__input');
  field.focus();
  field.value = words;
  field.dispatchEvent(new Event('keyup', {bubbles: true}));
}"""
HITS = "[...document.querySelectorAll('.md-search-result__item')].map((h) => h.textContent)"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for module in ("material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    ran = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture(params=[1440, 390])
def page(request, tmp_path) -> Iterator[Page]:
    with chromium(tmp_path, size=(request.param, 900)) as browser:
        yield browser
        foreign = [r for r in browser.requests if not r.startswith(("file:", "data:", "about:"))]
        assert foreign == []


def test_pages_fit_show_formulas_and_are_searched_from_the_disk(site, page, tmp_path):
    page.go((site / "method.html").as_uri())
    page.picture(tmp_path / "method.png")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    drawn = page.evaluate("""[...document.querySelectorAll('math')].map(
      (m) => m.getBoundingClientRect().height)""")
    assert len(drawn) > 8 and all(height > 8 for height in drawn)
    assert (
        page.evaluate(
            "[...document.querySelectorAll('em')].filter((e) => /[=^]/.test(e.textContent)).length"
        )
        == 0
    )
    for words, found in (("ring artefact", "Glossary"), ("--samples", "sample")):
        page.evaluate(f"({SEARCH})({words!r})")
        page.wait(f"{HITS}.some((hit) => hit.includes({found!r}))")
    page.picture(tmp_path / "search.png")
    assert page.errors == []


def test_code_is_copied_and_colours_are_chosen(site, page, tmp_path):
    page.go((site / "index.html").as_uri())
    assert page.evaluate(
        "document.querySelectorAll('.md-clipboard, [data-clipboard-target]').length"
    )
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate("document.querySelector('input[data-md-color-scheme=slate]').click()")
    page.settle()
    page.picture(tmp_path / "dark.png")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert page.errors == []
