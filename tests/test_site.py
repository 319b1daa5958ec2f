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
SCROLLED = ".md-typeset__scrollwrap, pre, table, math, .md-tabs, .md-sidebar, .md-search"
CUT = f"""[...document.querySelectorAll('body *')].filter((e) => {{
  const box = e.getBoundingClientRect();
  return box.width && box.right > window.innerWidth + 1 && !e.closest('{SCROLLED}');
}}).map((e) => e.outerHTML.slice(0, 80))"""
"""What lies beside the screen and cannot be scrolled to."""
SPLIT = """[...document.querySelectorAll('.together')].filter(
  (e) => e.getClientRects().length > 1).map((e) => e.textContent)"""
PAGES = ("index", "results/index", "results/data-consistency", "results/every-method")
SCHEMES = ("default", "slate")
SHOWN = "getComputedStyle(document.querySelector('.md-search__output')).opacity === '1'"
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


def choose(page: Page, scheme: str) -> None:
    """Light or dark colours, by the page's own switch."""
    chosen = f"input[data-md-color-scheme={scheme}][data-md-color-media*='scheme:']"
    page.evaluate(f"document.querySelector(`{chosen}`).click()")
    page.settle()
    assert page.evaluate("document.body.dataset.mdColorScheme") == scheme


@pytest.mark.parametrize("scheme", SCHEMES)
def test_home_results_and_search_are_whole_in_both_colours(site, page, tmp_path, scheme):
    for name in PAGES:
        page.go((site / f"{name}.html").as_uri())
        choose(page, scheme)
        page.picture(tmp_path / f"{name.replace('/', '-')}.png")
        assert page.evaluate(CUT) == [] and page.evaluate(SPLIT) == []
        if name == "results/every-method":
            assert page.evaluate("document.querySelectorAll('.together').length") > 20
            page.evaluate("document.querySelector('article table').scrollIntoView()")
            page.settle()
            page.picture(tmp_path / "table.png")
    page.go((site / "index.html").as_uri())
    choose(page, scheme)
    broken = "[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)"
    assert page.evaluate(broken) == []
    links = (
        "[...document.querySelectorAll('article img')].map((i) => i.closest('a').href === i.src)"
    )
    assert page.evaluate(links) == [True]
    page.evaluate(f"({SEARCH})('--samples')")
    page.wait(f"{HITS}.length > 3 && {SHOWN}")
    page.picture(tmp_path / "search.png")
    tall = "[...document.querySelectorAll('.md-search-result__article')].map((a) => a.clientHeight)"
    assert max(page.evaluate(tall)) <= 300, "a hit that shows a whole table hides the next"
    assert page.errors == []
