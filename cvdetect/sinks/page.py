"""A page in the browser with the live image: the latest frame, for any number of viewers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cvdetect.core.arguments import arg
from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import MissingPackage, SinkError, UsageError
from cvdetect.core.frame import Frame
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.sinks.render import Renderer

if TYPE_CHECKING:
    from cvdetect.sinks.page_server import PageServer

__all__ = ["Address", "Page", "check_port", "need_server", "parse_address"]

_LOCAL = "127.0.0.1"
_QUALITY = 85  # of the JPEGs, 0 to 100


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can see it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """``HOST:PORT``, ``[::1]:PORT``, or ``PORT`` alone for this machine only; port 0 takes a free one.

    Raises:
        UsageError: it is none of these.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise UsageError(
            f"{arg('serve')} {text}: expected HOST:PORT, e.g. 127.0.0.1:8080 (0.0.0.0:8080 for all to see)"
        )
    return Address(host.strip("[]") or _LOCAL, int(port))


def need_server() -> None:
    """Raise MissingPackage unless the extra ``[serve]`` is installed."""
    if find_spec("aiohttp") is None:
        raise MissingPackage(f"{arg('serve')} needs the extra: pip install 'cvdetect[serve]'")


def check_port(address: Address) -> None:
    """Check before any work that the port is free.

    Raises:
        SinkError: it is in use, or the host is not this machine.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        raise _no_port(address, error) from error


def _no_port(address: Address, error: OSError) -> SinkError:
    why = error.strerror or str(error)
    return SinkError(f"{arg('serve')} {address}: {why.lower()}; choose another port (0 takes a free one) or host")


class Page:
    """Serves the latest frame, drawn, and the values of `facts`, from a thread of its own.

    `write` only keeps the frame. It is drawn and encoded when a viewer asks for it, once for all of them; a slow viewer
    misses frames, and one that takes no data is disconnected.

    Args:
        renderer: draws; only the page's thread uses it.
        facts: the values that the page shows beside the image, as JSON types; called from the page's thread.

    Attributes:
        url: the page's address, once it is entered.
        encoded: how many frames were encoded.
    """

    def __init__(
        self,
        address: Address,
        renderer: Renderer,
        facts: Callable[[], Mapping[str, Any]],
        progress: Progress = NullProgress(),
    ) -> None:
        self._address = address
        self._progress = progress
        self._renderer = renderer
        self._facts = facts
        self._server: PageServer | None = None
        self.encoded = 0
        self.url = ""

    def __enter__(self) -> Page:
        """Start to serve.

        Raises:
            MissingPackage: the extra is not installed.
            SinkError: the port is in use, or the host is not this machine.
        """
        need_server()
        from cvdetect.sinks.page_server import PageServer

        self._server = PageServer(self._encode, self._facts, local=self._address.is_local)
        started: Future[int] = Future()
        work = self._server.run(self._address.host, self._address.port, started)
        self._thread = threading.Thread(target=asyncio.run, args=(work,), name="page", daemon=True)
        self._thread.start()
        try:
            port = started.result(timeout=10)
        except OSError as error:
            raise _no_port(self._address, error) from error
        self.url = f"http://{Address(self._address.host, port)}/"
        self._progress.note(f"live page: {self.url}")
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect every viewer and free the port."""
        if self._server is not None:
            self._server.stop()
            self._thread.join(timeout=5)

    def write(self, frame: Frame, found: Detections) -> None:
        """Make this the latest frame."""
        if self._server is not None:
            self._server.show(frame, found)

    def _encode(self, frame: Frame, found: Detections) -> bytes:
        """The drawn frame as a JPEG."""
        self.encoded += 1
        _, data = cv2.imencode(".jpg", self._renderer.drawn(frame, found), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return bytes(data)
