"""The server: this machine, this token, these paths, and nothing else."""

from __future__ import annotations

import http.client
import re
import socket
import struct

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.viewer.page import viewer_page, write_static_page
from diffusionblend.viewer.server import ViewerServer
from viewer_scenes import GRID


def get(server: ViewerServer, path: str, **headers: str) -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, dict(answer.headers)


def test_page_and_volumes_are_served_with_the_token(server, scene):
    status, body, headers = get(server, f"/{server.token}/")
    assert status == 200 and body == viewer_page(scene).encode()
    assert headers["Cache-Control"] == "no-store" and headers["X-Frame-Options"] == "DENY"
    status, body, _ = get(server, f"/{server.token}/volume/1/0")
    assert status == 200
    np.testing.assert_array_equal(
        np.frombuffer(body, "<i2").reshape(GRID.shape), scene.volumes["recon"]
    )


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32


def test_tokens_differ(scene):
    with ViewerServer(scene) as a, ViewerServer(scene) as b:
        assert a.token != b.token and a.server_port != b.server_port


@pytest.mark.parametrize(
    "path",
    ["/", "/wrong/", "/wrong/volume/0/0", "//", "/favicon.ico", "/%C3%A9/", "*"],
)
def test_a_wrong_or_missing_token_is_refused(server, path):
    status, body, _ = get(server, path)
    assert status == 403
    assert body == b"wrong or missing token\n"


def test_a_part_of_the_token_is_refused(server):
    for token in (server.token[:-1], server.token + "x", server.token.swapcase()):
        assert get(server, f"/{token}/")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        *("volume/2/0", "volume/0/9", "volume/0/-1", "volume/0", "volume/0/0/", "volume/0/0?x"),
        *("../../etc/passwd", "..%2f..%2fetc/passwd", "volume/../../etc/passwd", "viewer.js"),
        *("volume/99999999/0", "/etc/passwd", "?x", "index.html"),
    ],
)
def test_any_other_path_is_not_found(server, path):
    status, body, _ = get(server, f"/{server.token}/{path}")
    assert status == 404
    assert body in (b"nothing here\n", b"no such part\n")


@pytest.mark.parametrize(("path", "status"), [("\xe9/", 403), ("{token}/volume/0/\xb2", 404)])
def test_letters_beyond_ascii_are_refused_as_any_others(server, path, status):
    path = path.format(token=server.token)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as browser:
        host = f"127.0.0.1:{server.server_port}"
        browser.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        assert browser.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_foreign_host_name_is_refused(server):
    path = f"/{server.token}/"
    assert get(server, path, Host="evil.example")[0] == 403
    assert get(server, path, Host=f"evil.example:{server.server_port}")[0] == 403
    assert get(server, path, Host=f"localhost:{server.server_port}")[0] == 200


def test_other_methods_are_not_answered(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("PUT", f"/{server.token}/", body=b"x")
    assert connection.getresponse().status == 501
    connection.close()


def test_a_browser_that_closes_early_leaves_no_traceback(server, capfd):
    request = f"GET /{server.token}/volume/0/0 HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
    reset = struct.pack("ii", 1, 0)
    for sent in (request, request + "\r\n", "nonsense\r\n\r\n", ""):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.server_port)) as browser:
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                browser.sendall(sent.encode())
    assert get(server, f"/{server.token}/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_real_error_is_still_reported(server, capfd):
    try:
        raise RuntimeError("something of ours")
    except RuntimeError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert "something of ours" in capfd.readouterr().err


def test_a_port_that_is_taken_or_none_is_refused(server, scene):
    with pytest.raises(InputError, match="cannot be listened on"):
        ViewerServer(scene, port=server.server_port)
    with pytest.raises(InputError, match="65536"):
        ViewerServer(scene, port=65536)


# ---- the page


def test_the_page_holds_its_parts_and_refers_to_nothing_outside(scene):
    for embedded in (False, True):
        page = viewer_page(scene, embedded=embedded)
        assert not re.search(r"(src|href)=(?!\"data:,)", page)
        assert "@import" not in page and "url(" not in page
        assert "truth <b>" not in page  # names are escaped
        assert page.count("<script>") == 1


def test_the_static_page_is_deterministic_and_not_overwritten(scene, tmp_path):
    path = tmp_path / "a.html"
    write_static_page(scene, path)
    assert path.read_text() == viewer_page(scene, embedded=True)
    with pytest.raises(InputError, match="force=True"):
        write_static_page(scene, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]


def test_volumes_too_large_for_one_file_are_refused(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusionblend.viewer.page.MAX_EMBEDDED_BYTES", 1000)
    with pytest.raises(InputError, match="static page"):
        write_static_page(scene, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []
