"""The viewer's page and its volumes over HTTP, for this machine alone.

It listens on 127.0.0.1. Every request must carry the token in its path; only the page and the parts
of its volumes have a path, so no file can be asked for. A request under another host name is
refused, so that a foreign page cannot reach it by a name that leads here. Files that are dropped on
the page come in by POST, are read as any volume is, and are not kept on the disk.
"""

from __future__ import annotations

import re
import secrets
import sys
import threading
import urllib.parse
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.io.received import read_received
from diffusionblend.viewer.page import viewer_page
from diffusionblend.viewer.scene import Scene

HOST = "127.0.0.1"
MAX_PORT = 65535
TOKEN_BYTES = 24
IDLE_SECONDS = 60
ADD_PREFIX = "add/"
MAX_ADDED_BYTES = 4 << 30
"""Of a file that is dropped on the page."""
CHUNK_PATH = re.compile(r"volume/([0-9]{1,4})/([0-9]{1,6})")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ViewerServer(ThreadingHTTPServer):
    """Serves one scene; `serve_forever` until `shutdown`, then `server_close`.

    port: 0 for any free one. token: what every request must carry; random by default. Raises
    InputError for a port that is taken or is none.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, scene: Scene, *, port: int = 0, token: str | None = None) -> None:
        self.scene = scene
        self.token = secrets.token_urlsafe(TOKEN_BYTES) if token is None else token
        self.page = _page(scene)
        self._adding = threading.Lock()
        if not 0 <= port <= MAX_PORT:
            raise InputError(f"The port is {port}.", f"a number from 0 to {MAX_PORT}", "--port 0")
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise InputError(
                f"The port {port} cannot be listened on: {error.strerror}.",
                "a free port",
                "--port 0, which takes any free one",
            ) from error

    @property
    def url(self) -> str:
        """Where the page is, token included."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def add(self, name: str, volume: Volume, notes: Iterable[str] = ()) -> None:
        """Show one more volume from the next loading of the page on. Raises InputError."""
        with self._adding:
            scene = self.scene.with_volume(name, volume, notes)
            self.scene, self.page = scene, _page(scene)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing for a browser that went away; anything else is reported as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET for the page and for the parts of the volumes."""

    server: ViewerServer
    protocol_version = "HTTP/1.1"
    server_version = "diffusionblend"
    sys_version = ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        """403 without the token or under another host name, 404 for any path but the known."""
        token, _, rest = self.path.removeprefix("/").partition("/")
        right = secrets.compare_digest(token.encode(), self.server.token.encode())
        if not right or not self._is_for_us():
            self._answer(HTTPStatus.FORBIDDEN, b"wrong or missing token\n")
        elif rest == "":
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        elif (named := CHUNK_PATH.fullmatch(rest)) is not None:
            try:
                body = self.server.scene.chunk(int(named[1]), int(named[2]))
            except IndexError:
                self._answer(HTTPStatus.NOT_FOUND, b"no such part\n")
            else:
                self._answer(HTTPStatus.OK, body, "application/octet-stream")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"nothing here\n")

    def do_POST(self) -> None:
        """Take a volume file; 403 as for GET or from another page, 404, 411, 413, 422 with why."""
        token, _, rest = self.path.removeprefix("/").partition("/")
        right = secrets.compare_digest(token.encode(), self.server.token.encode())
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # what is left of a refused body is not read
        if not right or not self._is_for_us() or not self._is_from_us():
            self._answer(HTTPStatus.FORBIDDEN, b"wrong or missing token\n")
        elif not rest.startswith(ADD_PREFIX):
            self._answer(HTTPStatus.NOT_FOUND, b"nothing here\n")
        elif not (length.isascii() and length.isdigit()):
            self._answer(HTTPStatus.LENGTH_REQUIRED, b"how long the file is, is missing\n")
        elif int(length) > MAX_ADDED_BYTES:
            said = f"The file has more than {MAX_ADDED_BYTES / 1e9:.1f} GB.\n".encode()
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
        else:
            self._add(urllib.parse.unquote(rest.removeprefix(ADD_PREFIX)), int(length))

    def _add(self, name: str, length: int) -> None:
        """Read so many bytes as the volume file of that name and add it to the scene."""
        notes: list[str] = []
        try:
            shown, volume = read_received(name, self.rfile, length, on_note=notes.append)
            self.server.add(shown, volume, notes)
        except InputError as error:
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}\n".encode(errors="replace"))
        else:
            self._answer(HTTPStatus.OK, b"added\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: requests are not logged."""

    def _is_for_us(self) -> bool:
        port = self.server.server_port
        return self.headers.get("Host", "") in (f"{HOST}:{port}", f"localhost:{port}")

    def _is_from_us(self) -> bool:
        """Whether the page that asks is ours; a browser always says which page posts."""
        return self.headers.get("Origin", "") == f"http://{self.headers.get('Host', '')}"

    def _answer(
        self, status: HTTPStatus, body: bytes | memoryview, kind: str = "text/plain"
    ) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _page(scene: Scene) -> bytes:
    return viewer_page(scene).encode(errors="backslashreplace")
