"""The report in a real browser: windows switch without a script, nothing is loaded, it prints.

Pictures of it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

import base64

from browser import chromium
from diffusionblend.evaluation.metrics import evaluate_volume
from diffusionblend.evaluation.report import write_report
from diffusionblend.phantom import synthetic_chest

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
        evaluations={"<b>fbp": evaluate_volume(worse, truth)},
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
