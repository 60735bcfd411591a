"""A web server on this machine that misbehaves on request, and what a person would have been shown meanwhile."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cvdetect.models.download import RetryPolicy
from cvdetect.models.store import Store


@dataclass
class Reply:
    """How the server answers one path.

    `cut`: the connection is closed after so many bytes of an answer. `stall`: it falls silent after so many.
    `trickle`: it sends a byte at a time. `gate`: it answers when this is set. `declared`: a Content-Length that is
    not true. `ranges`: it obeys Range.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = None
    cut: int | None = None
    stall: int | None = None
    trickle: bool = False
    declared: int | None = None
    gate: threading.Event | None = None


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    sent: int = 0


class Site:
    """The server: `replies` by path, `asked` in order."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def serve(self, path: str, body: bytes = b"", **how: object) -> str:
        """Makes `path` answer with the body; gives its address."""
        self.replies[path] = Reply(body, **how)  # type: ignore[arg-type]
        return self.url(path)

    def asked_for(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = Asked(self.path, dict(self.headers))
            site.asked.append(asked)
            reply = site.replies.get(self.path, Reply(b"<!DOCTYPE html><p>not found", 404))
            if reply.gate:
                reply.gate.wait(30)
            start = self._start(reply)
            self.send_response(206 if start else reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.etag:
                self.send_header("ETag", reply.etag)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(reply.body) - 1}/{len(reply.body)}")
            rest = reply.body[start:]
            self.send_header("Content-Length", str(len(rest) if reply.declared is None else reply.declared))
            self.end_headers()
            with contextlib.suppress(OSError):  # the client may have had enough
                self._send(rest, reply, asked)

        def _start(self, reply: Reply) -> int:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            version = self.headers.get("If-Range")
            if not wanted or not reply.ranges or (version and version != reply.etag):
                return 0
            return int(wanted[1])

        def _send(self, rest: bytes, reply: Reply, asked: Asked) -> None:
            end = min(len(rest) if each is None else each for each in (reply.cut, reply.stall))
            if reply.trickle:
                for index in range(end):
                    self.wfile.write(rest[index : index + 1])
                    if site.closing.wait(0.02):
                        return
            self.wfile.write(rest[:end])
            asked.sent = end
            if reply.stall is not None:
                site.closing.wait(5)

        def log_message(self, format: str, *args: object) -> None: ...

    return Handler


class Recorder:
    """A `Progress` that remembers; `on_advance` is called with each amount."""

    def __init__(self, on_advance: Callable[[int], None] = lambda amount: None) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.details: list[str] = []
        self.begun: list[tuple[str, int | None, str]] = []
        self.done: list[int] = []
        self.ended = 0
        self.on_advance = on_advance

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        self.begun.append((task, total, unit))
        self.done.append(0)

    def advance(self, amount: int = 1) -> None:
        self.done[-1] += amount
        self.on_advance(amount)

    def end(self) -> None:
        self.ended += 1

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def error(self, message: str) -> None:
        self.errors.append(message)

    def detail(self, message: str) -> None:
        self.details.append(message)

    @property
    def log(self) -> str:
        return "\n".join([*self.notes, *self.warnings, *self.errors, *self.details])


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests counts, and nothing of theirs is touched."""
    for name in list(os.environ):
        if name.startswith(("CVDETECT_", "PIP_")) and name not in ("CVDETECT_SHARED",):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty cache; nothing is asked twice."""
    return Store(tmp_path / "cache", RetryPolicy(connect_s=5, read_s=10, attempts=1, pause_s=0))


@pytest.fixture
def progress() -> Recorder:
    return Recorder()
