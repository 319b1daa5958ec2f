"""The report in a real browser: windows switch without a script, nothing is loaded, it prints.

Pictures of it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

import base64

import numpy as np
import pytest

from browser import chromium
from diffusionblend.evaluation.calibration import calibrate
from diffusionblend.evaluation.metrics import evaluate
from diffusionblend.phantom import synthetic_chest
from diffusionblend.report.html import write_report

pytestmark = pytest.mark.browser

SHOWN = """(() => {
  const shown = [...document.querySelectorAll('.panel img')].filter((i) => i.offsetParent !== null);
  return [...new Set(shown.map((i) => i.className))];
})()"""
A4_INCHES = {"paperWidth": 8.27, "paperHeight": 11.69}


def test_windows_switch_and_the_page_prints(tmp_path):
    truth = synthetic_chest(3, shape=(16, 32, 32))
    worse = truth.with_values(truth.values * 0.9)
    path = write_report(
        tmp_path / "report.html",
        title="8 views of a synthetic chest",
        volumes={"reference": truth, "<b>fbp": worse},
        reference="reference",
        evaluations={"<b>fbp": evaluate(worse, truth)},
        settings={"<b>fbp": {"filter": "ram-lak"}},
        run_records={"<b>fbp": {"seconds": {"total": 1.5}}},
    )
    with chromium(tmp_path) as page:
        page.go(path.as_uri())
        assert set(page.evaluate(SHOWN)) == {"view-error", "view-full"}
        for window in ("lung", "mediastinum", "bone"):
            page.evaluate(f"document.querySelector('label[for=window-{window}]').click()")
            assert set(page.evaluate(SHOWN)) == {"view-error", f"view-{window}"}
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "the page is wider than a laptop's window"
        page.picture(tmp_path / "report.png", whole=True)
        printed = page.call("Page.printToPDF", preferCSSPageSize=True, **A4_INCHES)["data"]
        (tmp_path / "report.pdf").write_bytes(base64.b64decode(printed))
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
        page.call("Emulation.setEmulatedMedia", media="print")
        assert set(page.evaluate(SHOWN)) == {
            "view-bone",
            "view-error",
        }  # the window that was chosen
        assert [r for r in page.requests if not r.startswith("data:")] == [path.as_uri()]
        assert page.errors == []


BEYOND_REACH = """[...document.querySelectorAll('.scroll *')].filter((e) => {
  const box = e.getBoundingClientRect(), home = e.closest('.scroll');
  return box.width && box.left + home.scrollLeft < home.getBoundingClientRect().left - 1;
}).length"""


def test_a_phone_can_scroll_to_all_of_it(tmp_path):
    truth = synthetic_chest(3, shape=(12, 24, 24))
    volumes = {"reference": truth, "a": truth, "b": truth, "c": truth}
    path = write_report(tmp_path / "report.html", title="a", volumes=volumes, reference="reference")
    with chromium(tmp_path, size=(390, 844)) as page:
        page.go(path.as_uri())
        page.picture(tmp_path / "phone.png", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.querySelector('.pictures').scrollWidth") > 390
        assert page.evaluate(BEYOND_REACH) == 0


OVERLAYS = """(() => [...document.querySelectorAll('.overlay')].map((i) =>
  i.offsetParent === null ? 0 : Number(getComputedStyle(i).opacity)))()"""
KEY_SHOWN = "document.querySelector('.bar .on-grey').offsetParent !== null"


def test_the_deviation_is_turned_on_and_off_without_a_script(tmp_path):
    truth = synthetic_chest(3, shape=(16, 32, 32))
    rough = np.abs(np.gradient(truth.values, axis=2)) / 4 + 5
    mean, spread = truth.with_values(truth.values * 0.98), truth.with_values(rough)
    path = write_report(
        tmp_path / "report.html",
        title="8 views of a synthetic chest",
        volumes={"reference": truth, "recon": mean},
        reference="reference",
        deviations={"recon": spread},
        calibrations={"recon": calibrate(mean, spread, truth, n_samples=4)},
    )
    with chromium(tmp_path) as page:
        page.go(path.as_uri())
        for choice, opacity in (("off", 0), ("light", 0.4), ("strong", 0.8), ("off", 0)):
            page.evaluate(f"document.querySelector('label[for=overlay-{choice}]').click()")
            assert page.evaluate(OVERLAYS) == [opacity] * 3
            assert page.evaluate(KEY_SHOWN) == (opacity > 0)
        page.evaluate("document.querySelector('label[for=overlay-strong]').click()")
        page.picture(tmp_path / "report.png", whole=True)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "the page is wider than a laptop's window"
        page.call("Emulation.setEmulatedMedia", media="print")
        assert page.evaluate(OVERLAYS) == [0.8] * 3  # it prints as it was chosen
        assert [r for r in page.requests if not r.startswith("data:")] == [path.as_uri()]
        assert page.errors == []
