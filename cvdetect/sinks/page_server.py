"""The page's web server, on aiohttp: ``/`` is the page, ``/stream`` the live image, ``/facts`` the values beside it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from typing import Any

from aiohttp import web

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame

__all__ = ["PageServer"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BOUNDARY = "frame"
_STALLED_S = 10.0  # a viewer that takes no data for so long is disconnected
_SEND_BUFFER = 128 * 1024  # bytes that the system buffers for a slow viewer: a frame or two
_MOST_VIEWERS = 100
# The page runs only its own inline script, and no other site may show or read the image.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _Shown:
    """One frame, and its JPEG once a viewer has asked for it."""

    def __init__(self, frame: Frame, found: Detections) -> None:
        self.frame = frame
        self.found = found
        self.jpeg: asyncio.Future[bytes] | None = None


class PageServer:
    """The server. `show` and `stop` may be called from any thread, everything else runs in the event loop.

    Args:
        encode: a frame and its detections → a JPEG; called on a thread of its own, once for each frame that is viewed.
        facts: the answer of ``/facts``.
        local: only this machine may view: a request that names another host is refused, as it comes from a web site
            whose name resolves to this machine's address (DNS rebinding).
    """

    def __init__(
        self, encode: Callable[[Frame, Detections], bytes], facts: Callable[[], Mapping[str, Any]], *, local: bool
    ) -> None:
        self._encode = encode
        self._facts = facts
        self._local = local
        self._newest: _Shown | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: set[asyncio.Transport] = set()

    def show(self, frame: Frame, found: Detections) -> None:
        """Make this the latest frame."""
        self._call(self._publish, _Shown(frame, found))

    def stop(self) -> None:
        """End `run`."""
        self._call(self._end)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    async def run(self, host: str, port: int, started: Future[int]) -> None:
        """Serve until `stop`; `started` gets the port, or the OSError that prevented it."""
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "page encoder")
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            self._loop = asyncio.get_running_loop()
            started.set_result(runner.addresses[0][1])
            await self._over.wait()
        except OSError as error:
            started.set_exception(error)
        finally:
            await runner.cleanup()
            self._pool.shutdown(wait=False)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [web.get("/", self._page), web.get("/stream", self._stream), web.get("/facts", self._send_facts)]
        )
        return app

    def _publish(self, shown: _Shown) -> None:
        self._newest = shown
        self._news.set()
        self._news = asyncio.Event()

    def _end(self) -> None:
        self._news.set()
        for transport in self._viewers:
            transport.abort()
        self._over.set()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
        if self._local and name not in ("localhost", "[::1]") and not name.startswith("127."):
            raise web.HTTPForbidden(text="this page is for this machine only")
        return await handler(request)

    async def _page(self, _request: web.Request) -> web.Response:
        text = files("cvdetect.sinks").joinpath("page.html").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    async def _send_facts(self, _request: web.Request) -> web.Response:
        return web.json_response({**self._facts(), "viewers": len(self._viewers)}, headers=_HEADERS)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """One JPEG after another (multipart/x-mixed-replace), always the latest."""
        transport = request.transport
        if transport is None or len(self._viewers) >= _MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text="too many viewers")
        _limit_buffers(transport)
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": kind})
        self._viewers.add(transport)
        try:
            await response.prepare(request)
            await self._feed(response)
        except TimeoutError:
            transport.abort()
        except ConnectionError:
            pass  # the viewer has gone
        finally:
            self._viewers.discard(transport)
        return response

    async def _feed(self, response: web.StreamResponse) -> None:
        await response.write(f"--{_BOUNDARY}\r\n".encode())
        seen: _Shown | None = None
        while not self._over.is_set():
            shown = self._newest
            if shown is None or shown is seen:
                await self._news.wait()
                continue
            seen = shown
            await _within(_STALLED_S, response.write(_part(await self._jpeg(shown))))

    async def _jpeg(self, shown: _Shown) -> bytes:
        if shown.jpeg is None:
            loop = asyncio.get_running_loop()
            shown.jpeg = loop.run_in_executor(self._pool, self._encode, shown.frame, shown.found)
        return await asyncio.shield(shown.jpeg)  # other viewers wait for it too


async def _within(seconds: float, work: Awaitable[None]) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise TimeoutError from None


def _part(jpeg: bytes) -> bytes:
    """One part, and the boundary after it: a browser shows a part when it sees where it ends."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()


def _limit_buffers(transport: asyncio.Transport) -> None:
    """Small buffers, so that a slow viewer gets frames that are at most a few frames old."""
    transport.set_write_buffer_limits(0)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
