"""Addresses of videos: which of them are live, and why one gives no video."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from cvdetect.sources.kinds import VIDEO_SUFFIXES

__all__ = ["is_address", "is_live", "why_unreachable"]

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
_SECONDS = 0.5  # to connect, and to answer
_NO_VIDEO = "gives no video that can be read"
_LIVE_SCHEMES = frozenset("mms mmsh rist rtmp rtmps rtp rtsp rtsps srt tcp udp".split())
_STORED_SUFFIXES = VIDEO_SUFFIXES - {".mjpg", ".mjpeg"} | {".m3u8", ".mpd"}  # MJPEG over HTTP is that of a camera


def is_address(name: str) -> bool:
    """Whether a name is an address rather than a path."""
    return "://" in name


def is_live(address: str) -> bool:
    """Whether an address is taken for a live stream: by its protocol; over HTTP, where it has no video's suffix."""
    scheme, _, rest = address.partition("://")
    if scheme.lower() in ("http", "https"):
        return PurePosixPath(rest.partition("?")[0]).suffix.lower() not in _STORED_SUFFIXES
    return is_address(address) and scheme.lower() in _LIVE_SCHEMES


def why_unreachable(url: str) -> str:
    """Why an address gives no video, to follow it and a colon; its server is asked, in a second at most."""
    import socket  # with ssl 8 ms, which a file does not need

    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:  # its text may quote a part of the password
        return "is not a valid address: in a password, write / ? # and @ as %2F %3F %23 and %40"
    if not parts.hostname:
        return "is not a valid address: it names no host"
    if port is None:
        return _NO_VIDEO
    try:
        return _ask(parts, port)
    except socket.gaierror:
        return f"there is no host {parts.hostname}"
    except ConnectionRefusedError:
        return f"connection refused: nothing listens on {parts.hostname} port {port}"
    except TimeoutError:
        return "does not answer"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"


def _ask(parts: SplitResult, port: int) -> str:
    """Ask for the video as a player would, and read the first lines of the answer."""
    import socket
    import ssl

    host, scheme = parts.hostname or "", parts.scheme.lower()
    with socket.create_connection((host, port), timeout=_SECONDS) as connection:
        if scheme == "rtmp":
            return _NO_VIDEO
        stream = connection
        if scheme in ("https", "rtsps"):
            stream = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        stream.sendall(_request(parts, host, port))
        try:
            return _meaning(stream.recv(4096).decode("latin-1"), bool(parts.username))
        except TimeoutError:
            return "accepts the connection, but sends nothing"


def _request(parts: SplitResult, host: str, port: int) -> bytes:
    if parts.scheme.lower().startswith("rtsp"):
        return f"DESCRIBE {parts.scheme}://{host}:{port}{parts.path} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()


def _meaning(answer: str, named: bool) -> str:
    """What a status line (``HTTP/1.1 404 Not Found``) and headers mean, in words."""
    head = answer.split("\r\n\r\n", maxsplit=1)[0].splitlines()
    words = head[0].split(maxsplit=2) if head else []
    if len(words) < 2 or not words[1].isdecimal():
        return "accepts the connection, but sends nothing" if not answer else _NO_VIDEO
    status = " ".join(words[1:])
    if words[1] == "401":
        hint = "user or password is wrong" if named else "write user:password@ before the host"
        return f"asks for a password ({status}): {hint}"
    if int(words[1]) >= 400:
        return f"the server answers {status}"
    if any(line.lower().startswith("content-type: text/html") for line in head):
        return "is a web page, not a video; give the address of the stream itself"
    return _NO_VIDEO
