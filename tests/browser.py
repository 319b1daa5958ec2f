"""A headless Chromium that tests drive over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS = 180.0
ANSWER_SECONDS = 180.0
POLL_SECONDS = 0.05


class Page:
    """One page: evaluate script, press keys, move the mouse, take pictures; errors are kept."""

    def __init__(self, connection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """A DevTools command and its answer; events that come before it are noted."""
        number = next(self._numbers)
        self._connection.send(
            json.dumps({"id": number, "method": method, "params": parameters}),
        )
        while True:
            message = json.loads(self._connection.recv(timeout=ANSWER_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]
            self._note(message)

    def _note(self, event: dict) -> None:
        method, facts = event.get("method", ""), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(facts["exceptionDetails"]["exception"].get("description", "?"))
        elif method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning"):
            self.errors.append(str(facts["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])

    def evaluate(self, script: str) -> object:
        """The value of a script (of its promise)."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def go(self, url: str, until: str = "document.readyState === 'complete'") -> None:
        """Open an address and wait for a condition."""
        self.call("Page.navigate", url=url)
        self.wait(until)

    def wait(self, condition: str) -> None:
        """Wait until a script's value is true, and the page has drawn."""
        end = time.monotonic() + ANSWER_SECONDS
        while not self.evaluate(f"Boolean(document.body) && ({condition})"):
            assert time.monotonic() < end, f"never true: {condition}; errors: {self.errors}"
            time.sleep(POLL_SECONDS)
        self.settle()

    def settle(self) -> None:
        """Wait for two frames, after which everything asked for is drawn."""
        frames = "requestAnimationFrame(() => requestAnimationFrame(() => done(true)))"
        self.evaluate(f"new Promise((done) => {frames})")

    def key(self, key: str) -> None:
        """Press and release a key by its name ("ArrowDown", "l")."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """A mouse event: Moved, Pressed, Released or Wheel."""
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float], **more: object) -> None:
        """Press a button (left by default), move, release."""
        button = {"button": "left", "clickCount": 1} | more
        self.mouse("Moved", *start)
        self.mouse("Pressed", *start, **button)
        self.mouse("Moved", *end, **button)
        self.mouse("Released", *end, **button)
        self.settle()

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot as PNG, of the window or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def chromium(folder: Path, size: tuple[int, int] = (1366, 768)) -> Iterator[Page]:
    """A page in a browser of its own, closed at the end; skips where there is none."""
    program = os.environ.get("DIFFUSIONBLEND_CHROMIUM")
    program = program or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium; install one or set DIFFUSIONBLEND_CHROMIUM")
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    profile = folder / "browser"
    process = subprocess.Popen(
        [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        + ["--remote-debugging-port=0", "--no-first-run", "--disable-extensions"]
        + ["--disable-background-networking", "--disable-component-update", "--mute-audio"]
        + ["--force-device-scale-factor=1", "--hide-scrollbars", f"--user-data-dir={profile}"]
        + [f"--window-size={size[0]},{size[1]}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = _page_address(profile / "DevToolsActivePort", process)
        with client.connect(address, max_size=None, open_timeout=START_SECONDS) as connection:
            page = Page(connection)
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=size[0],
                height=size[1],
                deviceScaleFactor=1,
                mobile=False,
            )
            yield page
    finally:
        process.terminate()
        process.wait()


def _page_address(port_file: Path, process: subprocess.Popen) -> str:
    """The web socket of the first page, once the browser has written its port."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, f"Chromium ended with {process.returncode}"
        lines = port_file.read_text().split() if port_file.exists() else []
        if lines:
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(POLL_SECONDS)
    raise AssertionError("Chromium did not start")
