"""The page: newest frame for every viewer, nobody slowed by one who stalls, gone without a trace at the end."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.errors import MissingPackage, SinkError, UsageError
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.sinks import page as page_module
from cvdetect.sinks import page_server
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.page import Address, Page, check_port, parse_address
from cvdetect.sinks.render import Renderer
from tests.conftest import make_detections

pytest.importorskip("aiohttp", reason="the extra [serve] is not installed")

LABELS = LabelSet({0: "dog"}, {}, 0)
FACTS = {"source": "camera 0", "state": "live", "fps": 29.97, "delay_ms": 40, "frame": 7, "dropped": 1234}
FACTS |= {"counts": {"dog": 2, "<b>cat</b>": 1}, "model": "tiny", "ran": "opencv on this & that"}


def coloured(value: int, wh: tuple[int, int] = (64, 48)) -> Frame:
    """A frame of one grey; `value` 0 to 255."""
    return Frame(np.full((wh[1], wh[0], 3), value, np.uint8), "cam", value, value / 30)


def noisy(index: int) -> Frame:
    """A frame whose JPEG is large: about 1 MB."""
    return Frame(np.random.default_rng(index).integers(0, 255, (720, 1280, 3), np.uint8), "cam", index, index / 30)


@pytest.fixture
def page() -> Iterator[Page]:
    with Page(Address("127.0.0.1", 0), Renderer(LABELS, DrawStyle()), lambda: FACTS) as served:
        yield served


def port_of(page: Page) -> int:
    return int(page.url.rstrip("/").rsplit(":", 1)[1])


def get(page: Page, path: str, **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=5)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


class Viewer:
    """Reads the live picture part by part."""

    def __init__(self, page: Page) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=5)
        self.connection.request("GET", "/stream")
        self.answer = self.connection.getresponse()
        assert self.answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        assert self.answer.readline() == b"--frame\r\n"

    def jpeg(self) -> bytes:
        assert self.answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(self.answer.readline().split(b":")[1])
        assert self.answer.readline() == b"\r\n"
        data = self.answer.read(length)
        assert self.answer.readline() == b"\r\n" and self.answer.readline() == b"--frame\r\n"
        return data

    def grey(self) -> int:
        """Of the middle of the next picture."""
        image = cv2.imdecode(np.frombuffer(self.jpeg(), np.uint8), cv2.IMREAD_GRAYSCALE)
        return int(image[image.shape[0] // 2, image.shape[1] // 2])

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def wait_for(true: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def viewers(page: Page) -> int:
    return int(json.loads(get(page, "/facts")[1])["viewers"])


def test_two_viewers_see_each_frame_and_it_is_encoded_once_and_only_while_they_look(page: Page) -> None:
    for value in range(5):
        page.write(coloured(value), Detections.empty())
    time.sleep(0.05)
    assert page.encoded == 0
    with closing(Viewer(page)) as one, closing(Viewer(page)) as two:
        assert (one.grey(), two.grey()) == (4, 4)
        for value in (50, 100, 150):
            page.write(coloured(value), Detections.empty())
            assert (one.grey(), two.grey()) == pytest.approx((value, value), abs=2)
        assert page.encoded == 4
    wait_for(lambda: page.write(coloured(9), Detections.empty()) or viewers(page) == 0)
    before = page.encoded
    page.write(coloured(10), Detections.empty())
    time.sleep(0.05)
    assert page.encoded == before


@pytest.mark.smoke
def test_boxes_are_drawn(page: Page) -> None:
    page.write(coloured(0), make_detections([[20, 20, 40, 40]]))
    with closing(Viewer(page)) as viewer:
        image = cv2.imdecode(np.frombuffer(viewer.jpeg(), np.uint8), cv2.IMREAD_COLOR)
    assert image[20:40, 20].max() > 120


def test_a_viewer_that_never_reads_slows_nobody_and_is_cut_off(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_STALLED_S", 1.0)
    stalled = socket.create_connection(("127.0.0.1", port_of(page)), timeout=5)
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    wait_for(lambda: viewers(page) == 1)
    frames = [noisy(i) for i in range(4)]
    slowest_write, slowest_view = 0.0, 0.0
    with closing(Viewer(page)) as lively:
        for turn in range(30):
            begin = time.monotonic()
            page.write(frames[turn % 4], Detections.empty())
            slowest_write = max(slowest_write, time.monotonic() - begin)
            lively.jpeg()
            slowest_view = max(slowest_view, time.monotonic() - begin)
        assert slowest_write < 0.05
        assert slowest_view < 0.5
        wait_for(lambda: viewers(page) == 1)  # the lively one stays
        page.write(frames[0], Detections.empty())
        assert lively.jpeg()
    stalled.close()


def test_a_slow_viewer_gets_the_newest_frame_not_a_queue_of_old_ones(page: Page) -> None:
    frames = [noisy(i) for i in range(4)]
    with closing(Viewer(page)) as viewer:
        for turn in range(60):
            page.write(frames[turn % 4], Detections.empty())
            time.sleep(0.01)
        page.write(coloured(250), Detections.empty())
        held_back = page.encoded
        assert held_back <= 8, "the others were dropped before they cost anything"
        seen = 1
        while viewer.grey() < 248 or seen == 1:
            seen += 1
        assert seen <= held_back + 2


@pytest.mark.smoke
def test_the_facts_are_json_and_the_page_asks_for_them(page: Page) -> None:
    status, body = get(page, "/facts")
    assert status == 200
    assert json.loads(body) == {**FACTS, "viewers": 0}
    status, body = get(page, "/")
    assert status == 200
    assert b"/facts" in body and b"/stream" in body
    assert get(page, "/nothing")[0] == 404


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 403), ("localhost:99", 200), ("[::1]:99", 200), ("127.0.0.1", 200)]
)
def test_another_sites_name_does_not_reach_a_page_for_this_machine_only(page: Page, host: str, status: int) -> None:
    assert get(page, "/facts", Host=host)[0] == status


def test_leaving_frees_the_port_at_once_whatever_the_viewers_do() -> None:
    threads = threading.active_count()
    page = Page(Address("127.0.0.1", 0), Renderer(LABELS, DrawStyle()), lambda: FACTS)
    with page:
        address = Address("127.0.0.1", port_of(page))
        stalled = socket.create_connection(("127.0.0.1", address.port), timeout=5)
        stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        viewer = Viewer(page)
        for i in range(6):
            page.write(noisy(i), Detections.empty())
            viewer.jpeg()
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    check_port(address)
    page.write(coloured(1), Detections.empty())  # too late, and harmless
    viewer.close()
    stalled.close()
    wait_for(lambda: threading.active_count() <= threads)


def test_a_port_in_use_and_a_foreign_host_are_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(SinkError, match=f"^serve {address}: address already in use; choose another port"):
            check_port(address)
        with pytest.raises(SinkError, match="already in use"):
            Page(address, Renderer(LABELS, DrawStyle()), lambda: FACTS).__enter__()
    for host in ("192.0.2.1", "nosuchhost.invalid"):
        with pytest.raises(SinkError, match=f"^serve {host}:8080: "):
            check_port(Address(host, 8080))


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("8080", Address("127.0.0.1", 8080), True),
        (":0", Address("127.0.0.1", 0), True),
        ("localhost:1", Address("localhost", 1), True),
        ("[::1]:8080", Address("::1", 8080), True),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), False),
        ("my-host:8080", Address("my-host", 8080), False),
    ],
)
def test_an_address_is_this_machines_unless_a_host_is_named(text: str, address: Address, local: bool) -> None:
    assert parse_address(text) == address
    assert address.is_local is local
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:port", "::1:80", "1.2.3.4:65536", "http://x:1/"])
def test_what_is_no_address_is_reported(text: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        parse_address(text)


def test_without_the_extra_the_hint_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda _: None)
    with pytest.raises(MissingPackage, match=r"pip install 'cvdetect\[serve\]'"):
        Page(Address("127.0.0.1", 0), Renderer(LABELS, DrawStyle()), lambda: FACTS).__enter__()


def test_a_browser_shows_the_image_and_the_figures(page: Page, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here")
    still_on = threading.Event()

    def go_on() -> None:
        while not still_on.wait(0.05):
            image = np.full((480, 640, 3), (0, 0, 230), np.uint8)
            page.write(Frame(image, "cam", 1, 0.1), Detections.empty())

    feeding = threading.Thread(target=go_on)
    feeding.start()
    shot = tmp_path / "page.png"
    quiet = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    quiet += " --disable-component-update --disable-sync --window-size=1000,700 --timeout=3000"
    try:
        for _ in range(6):  # a picture that is never complete: the browser may look before its first part
            subprocess.run(
                [browser, *quiet.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}", page.url],
                capture_output=True, check=True, timeout=60,
            )  # fmt: skip
            image = cv2.imread(str(shot))
            if (image[350, 350] == image[300, 300]).all() and image[350, 350, 2] > 200:
                break
    finally:
        still_on.set()
        feeding.join()
    np.testing.assert_allclose(image[350, 350], (0, 0, 230), atol=8)
    side = image[:, 740:]
    assert (side.min(axis=2) > 180).sum() > 500, "text beside the picture"
