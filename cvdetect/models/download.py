"""One file over HTTP into a `.part` file: time-outs, a few retries, resumed where it broke off last time."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cvdetect.core.arguments import arg
from cvdetect.core.errors import FetchError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.redact import redact
from cvdetect.core.spec import ModelFile

if TYPE_CHECKING:
    import requests

__all__ = [
    "BrokenPullError",
    "Download",
    "PullError",
    "RetryPolicy",
    "digest_of",
    "download",
    "http_reason",
    "megabytes",
    "open_session",
    "record_of",
    "verify",
    "verify_size",
    "writing",
]


_CHUNK = 1 << 18  # bytes
_SMALL = 1 << 16  # bytes; an answer of another length than promised is still read up to here, to see what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to wait for a server, in seconds, and how often to ask again.

    A server that sends less than `least_bytes` within `read_s` is taken for stalled.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    attempts: int = 3
    pause_s: float = 1.0
    least_bytes: int = 4096

    @property
    def timeout(self) -> tuple[float, float]:
        """As requests takes it."""
        return self.connect_s, self.read_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One file to download.

    Attributes:
        url: its address; it may hold a password, so it is never shown.
        part: the file it is collected in; what is known of the server's version lies beside it.
        model, name, origin: for which model, what it is and where it comes from, in words.
        size: its length in bytes, where known before.
        checked: its digest is checked afterwards, so a part may be continued even if the server names no version.
    """

    url: str
    part: Path
    model: str
    name: str
    origin: str
    size: int | None = None
    checked: bool = False


def record_of(part: Path) -> Path:
    """The file that records what `part` is a part of."""
    return part.with_name(part.name + ".json")


def download(session: requests.Session, item: Download, policy: RetryPolicy, progress: Progress) -> None:
    """Collect the whole of `item` in its part file. What has come stays there when this fails or is interrupted.

    Raises:
        PullError: the server does not give it.
        FetchError: it cannot be written on this machine.
    """
    for attempt in range(1, policy.attempts + 1):
        try:
            return _attempt(session, item, policy, progress)
        except BrokenPullError as problem:
            if attempt == policy.attempts:
                raise PullError(str(problem)) from None
            progress.note(f"{item.name}: {problem}; asking again")
            time.sleep(policy.pause_s * attempt)


def _attempt(session: requests.Session, item: Download, policy: RetryPolicy, progress: Progress) -> None:
    offset, known = _begun(item)
    if known.get("total") and known["total"] == offset:
        return
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if offset and known.get("version"):
        headers["If-Range"] = known["version"]
    with _ask(session, item.url, headers, policy) as response:
        offset, total = _extent(response, item, offset, known)
        version = _version(response) or (known.get("version") if offset else None)  # a 206 may leave it out
        known = {"url": _key(item.url), "version": version, "total": total}
        with writing(item.part):
            record_of(item.part).write_text(json.dumps(known))
        _announce(item, offset, total, progress)
        left = None if total is None else total - offset
        _collect(_pieces(response, policy, left), item, offset, total, progress)


def _begun(item: Download) -> tuple[int, dict[str, Any]]:
    """How many bytes are here already, and what is known of them; 0 where they cannot be trusted to be the same."""
    try:
        known = json.loads(record_of(item.part).read_text())
        offset = item.part.stat().st_size
    except (OSError, ValueError):
        return 0, {}
    if not isinstance(known, dict) or known.get("url") != _key(item.url):
        return 0, {}
    return (offset, known) if known.get("version") or item.checked else (0, {})


@contextmanager
def _ask(
    session: requests.Session, url: str, headers: dict[str, str], policy: RetryPolicy
) -> Iterator[requests.Response]:
    import requests

    # identity: a compressed answer could not be continued, and its length would not be the file's
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        response = session.get(url, headers=headers, timeout=policy.timeout, stream=True)
    except (requests.RequestException, ValueError) as problem:
        raise PullError(http_reason(problem)) from None
    with response:
        hops = [urlsplit(hop.url).scheme for hop in (*response.history, response)]
        if hops[0] == "https" and "http" in hops:
            raise PullError("the server leads from https to plain http")
        yield response


def _extent(response: requests.Response, item: Download, offset: int, known: dict[str, Any]) -> tuple[int, int | None]:
    """From which byte the answer goes on, and how many the whole has (None: the server does not state it)."""
    status = response.status_code
    if status in (206, 416) and offset:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if status == 206 and found and int(found[1]) == offset and int(found[2]) == known.get("total"):
            return offset, int(found[2])
        record_of(item.part).unlink(missing_ok=True)
        raise BrokenPullError("the server has another file now, or cannot continue this one")
    if status != 200:
        kind = BrokenPullError if status == 429 or status >= 500 else PullError
        raise kind(f"the server answers {status} {response.reason}")
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None
    if item.size is not None and total not in (None, item.size) and (total or 0) > _SMALL:
        raise PullError(f"the server offers {total:,} bytes, the file must have {item.size:,}")
    return 0, total


def _announce(item: Download, offset: int, total: int | None, progress: Progress) -> None:
    total = item.size if total is None else total
    size = "size unknown" if total is None else megabytes(total)
    here = f" ({megabytes(offset)} of it are here already)" if offset else ""
    progress.note(f"{item.model}: pulling {item.name}, {size}{here}, from {item.origin}")


def _collect(pieces: Iterator[bytes], item: Download, offset: int, total: int | None, progress: Progress) -> None:
    limit = item.size if total is None else total
    progress.begin(item.name, limit, "B")
    progress.advance(offset)
    try:
        with writing(item.part):
            part = item.part.open("ab" if offset else "wb")
        with part:
            for piece in pieces:
                offset += len(piece)
                if limit is not None and offset > max(limit, _SMALL):
                    raise PullError(f"the server sends more than the {limit:,} bytes of the file")
                _write(part, piece, item.part)
                progress.advance(len(piece))
    finally:
        progress.end()


def _pieces(response: requests.Response, policy: RetryPolicy, left: int | None) -> Iterator[bytes]:
    """The body as it arrives, `left` bytes (None: not known). Raises `PullError` when it breaks off or stalls."""
    from urllib3.exceptions import HTTPError
    from urllib3.exceptions import TimeoutError as TimedOut

    # read1 returns what has arrived; read would wait for a full chunk, and see no stall in a trickle
    read = getattr(response.raw, "read1", response.raw.read)
    since, received = time.monotonic(), 0
    while True:
        try:
            piece = read(_CHUNK)
        except TimedOut:
            raise PullError(f"the server sent nothing for {policy.read_s:g} s") from None
        except (HTTPError, OSError):
            raise _broken(left) from None
        if not piece:
            break
        yield piece
        received += len(piece)
        left = None if left is None else left - len(piece)
        if time.monotonic() - since > policy.read_s:
            if received < policy.least_bytes:
                raise PullError(f"the server sent only {received:,} bytes in {policy.read_s:g} s")
            since, received = time.monotonic(), 0
    if left:
        raise _broken(left)


def _broken(left: int | None) -> BrokenPullError:
    return BrokenPullError("the connection broke" + (f", {left:,} bytes before the end" if left else ""))


def _write(part: IO[bytes], piece: bytes, path: Path) -> None:
    with writing(path):
        part.write(piece)


def open_session(certificates: str | None) -> requests.Session:
    """A session that checks servers against the file `certificates`, if any, and none is set for requests itself."""
    import requests

    session = requests.Session()
    session.headers["User-Agent"] = "cvdetect"
    if certificates:
        session.verify = certificates
    return session


def megabytes(count: int) -> str:
    """A number of bytes for people: 1 kB = 1000 B."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB" if count >= 1e3 else f"{count} B"


def _version(response: requests.Response) -> str | None:
    """What If-Range takes: a strong entity tag, else the date of the last change."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()  # the address itself may hold a password


# How a pull fails, and how that is reported.


class PullError(FetchError):
    """One source could not give the file; the next may."""


class BrokenPullError(PullError):
    """The same source may well go on if it is asked again."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of writing `path` on this machine (disk full, read-only) into a `FetchError`."""
    try:
        yield
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise FetchError(
            f"cannot write {path}: {why}; make room or choose another folder with {arg('cache')} or CVDETECT_CACHE"
        ) from None


def http_reason(problem: Exception) -> str:
    """One short line for an exception of requests or urllib3; their texts nest several."""
    import requests

    if isinstance(problem, requests.exceptions.SSLError):
        return "its certificate cannot be verified (a proxy? see REQUESTS_CA_BUNDLE)"
    if isinstance(problem, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    if isinstance(problem, requests.exceptions.Timeout):
        return "the server does not answer in time"
    if isinstance(problem, requests.exceptions.ConnectionError):
        return "no connection to the server"
    return redact(str(problem).splitlines()[0] if str(problem) else type(problem).__name__)[:200]


# Whether a file on this disk is the one that models.yaml names: size, digest, and what it is instead.


def verify_size(path: Path, file: ModelFile) -> str | None:
    """What is wrong with the size of the file at `path`, or None. It costs one look at the directory."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size:,} bytes, must have {file.size:,}"
    return None if size else "is empty"


def verify(path: Path, file: ModelFile) -> str | None:
    """What is wrong with the content of the file at `path`, e.g. "is an HTML page", or None. Reads all of it."""
    problem = verify_size(path, file) or _verify_digest(path, file)
    if problem is None and (file.sha256 or file.sha1):
        return None
    foreign = _foreign(path, file)
    return f"is {foreign}" if foreign else problem


def _verify_digest(path: Path, file: ModelFile) -> str | None:
    for algorithm, expected in (("sha256", file.sha256), ("sha1", file.sha1)):
        if expected and (found := digest_of(path, algorithm)) != expected:
            return f"has {algorithm} {found}, must have {expected}"
    return None


def digest_of(path: Path, algorithm: str) -> str:
    """The digest of a file's content in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _foreign(path: Path, file: ModelFile) -> str | None:
    with path.open("rb") as content:
        return describe_foreign(content.read(512), text_expected=file.role in ("cfg", "config", "names", "prototxt"))
