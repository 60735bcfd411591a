"""A folder in an object store or on another machine, through fsspec."""

from __future__ import annotations

import hashlib
import posixpath
import secrets
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from cvdetect.core.errors import Occupied, SinkError, SourceError, SourceNotFound, UnwritableName
from cvdetect.core.files import safe_join
from cvdetect.storage.filesystem import found_of, open_url, reading, state_of, taken, wait_for, writing
from cvdetect.storage.folder import ABSENT, Entry, Folder, Found, Listings, State
from cvdetect.storage.urls import is_url, join

__all__ = ["RemoteFolder", "open_remote"]

_AT_ONCE = 16  # requests in flight
_SEND_S = 60.0  # how long sending a small file may take
_SLOWEST = 100_000  # bytes a second beyond that
_CHUNK = 256  # names looked at or moved together
_START = 8 << 20  # bytes of a file that are fetched without asking for its size: nearly all images are smaller
# Stores in which folders are only a part of names: they need not be made, and a put appears whole or not at all.
_FLAT = frozenset("s3 s3a gs gcs az abfs abfss adl oss oci tos memory".split())


def open_remote(url: str) -> RemoteFolder:
    """The folder at `url`; no request is made yet.

    Raises:
        MissingPackage: fsspec or the store's own package is not installed.
        UsageError: no such protocol, or an address with a password in it.
    """
    return RemoteFolder(*open_url(url))


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A `Folder`: that at `path` of the fsspec file system `system`; `url` as it was given."""

    url: str
    system: Any
    path: str

    @property
    def remote(self) -> bool:
        """Yes."""
        return True

    def __str__(self) -> str:
        return self.url

    def shown(self, name: str) -> str:
        """The file's address."""
        return join(self.url, name)

    def absolute(self) -> str:
        """The address."""
        return self.url

    def folder(self, name: str) -> RemoteFolder:
        """A folder below it."""
        return RemoteFolder(self.shown(name), self.system, self._at(name))

    def identity(self, name: str = "") -> Hashable:
        """Protocol and path."""
        return self._protocol, self._at(name)

    def within(self, other: Folder) -> bool:
        """By their addresses alone."""
        if not isinstance(other, RemoteFolder) or other._protocol != self._protocol:
            return False
        return f"{self.path}/".startswith(f"{other.path}/".replace("//", "/"))

    def relative(self, text: str) -> str | None:
        """An address, or a path that is relative to this folder."""
        if not is_url(text):
            name = posixpath.normpath(text)
        else:
            inside = str(self.system._strip_protocol(text))
            if not f"{inside}/".startswith(self._at("") + "/"):
                return None
            name = inside[len(self._at("")) + 1 :]
        return None if name.startswith(("/", "../")) or name in ("", ".", "..") else name

    def kind(self, name: str = "") -> Literal["file", "folder"] | None:
        """One request, or two."""
        with suppress(SourceNotFound), reading(self.shown(name)):
            return "folder" if self.system.info(self._at(name))["type"] == "directory" else "file"
        return None

    def entries(self, name: str = "") -> Iterator[Entry]:
        """What is directly in the folder: one request for each page of the store's listing."""
        at = self._at(name)
        with reading(self.shown(name)):
            self.system.invalidate_cache()
            found = self.system.ls(at, detail=True)
        for info in found:
            path = str(info["name"]).rstrip("/")
            if path != at:  # an empty object of the folder's own name
                yield Entry(path.rpartition("/")[2], info["type"] == "directory", state_of(info))

    def look(self, names: Iterable[str]) -> Iterator[State]:
        """A request a file, several at once."""
        yield from self._each(self._look, names)

    def _look(self, name: str) -> State:
        with suppress(SourceError), reading(self.shown(name)):
            info = self.system.info(self._at(name))
            return state_of(info) if info["type"] != "directory" else State()
        return State()

    def start(self, name: str) -> tuple[bytes, int]:
        """One request; for a large file a second one, which asks for its size."""
        at = self._at(name)
        with reading(self.shown(name)):
            try:
                data: bytes = self.system.cat_file(at, start=0, end=_START)
            except (FileNotFoundError, PermissionError):
                raise
            except OSError:
                if self.system.info(at)["size"] != 0:
                    raise
                return b"", 0  # no store has a first byte of an empty file
            return data, len(data) if len(data) != _START else int(self.system.info(at)["size"])

    def beginning(self, name: str, size: int) -> bytes:
        """One request; a file that cannot be read gives no bytes."""
        try:
            with reading(self.shown(name)):
                return bytes(self.system.cat_file(self._at(name), start=0, end=size))
        except SourceError:
            return b""

    def read(self, name: str) -> bytes:
        """One request."""
        with reading(self.shown(name)):
            return bytes(self.system.cat_file(self._at(name)))

    def find(self, names: Iterable[str]) -> Iterator[Found]:
        """A request a name, several at once."""
        yield from self._each(self._found, names)

    def finder(self) -> Callable[[Iterable[str]], Iterator[Found]]:
        """Folders are listed, a request for about a thousand objects."""
        return Listings(self._listing).find

    def _listing(self, folder: str) -> dict[str, Found]:
        """What is directly in a folder, by its name there."""
        at = self._at(folder)
        if not _is_text(folder):
            return {}
        with reading(self.shown(folder)):
            self.system.invalidate_cache()
            try:
                infos = self.system.ls(at, detail=True)
            except FileNotFoundError:
                return {}
            except NotADirectoryError:
                infos = []
        listed = {str(info["name"]).rstrip("/").rpartition("/")[2]: found_of(info) for info in infos}
        if self._protocol in _FLAT:  # where a folder is no more than the names below it
            return {name: found for name, found in listed.items() if found.kind == "file"}
        return listed

    def digest(self, name: str) -> str:
        """The file is fetched, piece by piece."""
        digest = hashlib.sha256()
        with reading(self.shown(name)), self.system.open(self._at(name), "rb") as stream:
            while piece := stream.read(_START):
                digest.update(piece)
        return digest.hexdigest()

    def write(self, name: str, data: bytes, over: Found | None = None) -> State:
        """One put, which appears whole or not at all; a conditional one where nothing may exist there."""
        if over == ABSENT:
            safe_join(Path(), name)
            if not self.create(name, data):
                raise self._occupied(name)
        else:
            self._check(name, over)
            self._put(name, lambda at: self._send("pipe_file", len(data), at, data))
        return State(len(data), -1)

    def _check(self, name: str, over: Found | None) -> None:
        """Raise Occupied unless `over` is what exists there."""
        if over is not None and self._found(name) != over:
            raise self._occupied(name)

    def _found(self, name: str) -> Found:
        if not _is_text(name):
            return ABSENT
        with suppress(SourceNotFound), reading(self.shown(name)):
            found = found_of(self.system.info(self._at(name)))
            return ABSENT if found.kind == "folder" and self._protocol in _FLAT else found
        return ABSENT

    def _occupied(self, name: str) -> Occupied:
        return Occupied(f"{self.shown(name)}: cannot be written: a file that is not this run's own lies there")

    def create(self, name: str, data: bytes) -> bool:
        """One put on the condition that there is no such file; without such conditions, a look and a put."""
        at = self._at(name)
        with writing(self.shown(name)):
            try:
                self._create(name, at, data)
            except Exception as error:
                if not taken(error):
                    raise
                # A request that was repeated after a lost answer finds what it has written itself.
                with suppress(FileNotFoundError):
                    return bool(self.system.cat_file(at) == data)
                raise  # a file is in place of one of its folders
            return True

    def _create(self, name: str, at: str, data: bytes) -> None:
        if self._protocol in _FLAT:
            with suppress(TypeError):  # a package without this mode
                self._send("pipe_file", len(data), at, data, mode="create")
                return
        if self.system.exists(at):
            raise FileExistsError(at)
        self._put(name, lambda at: self._send("pipe_file", len(data), at, data))

    def move_in(self, source: Path, names: Mapping[str, Found]) -> dict[str, UnwritableName]:
        """A put a file, several at once."""

        def move(name: str) -> tuple[str, UnwritableName | None]:
            try:
                self._move(source / name, name, names[name])
            except UnwritableName as error:
                return name, error
            return name, None

        return {name: unfit for name, unfit in self._each(move, names) if unfit is not None}

    def _move(self, local: Path, name: str, over: Found) -> None:
        size = local.stat().st_size
        if over == ABSENT and size <= _START:
            self.write(name, local.read_bytes(), over)
            return
        self._check(name, over)
        self._put(name, lambda at: self._send("put_file", size, str(local), at))

    def remove(self, names: Iterable[str]) -> None:
        """A request a file, several at once; no store keeps empty folders."""
        for _ in self._each(self._remove, names):
            pass

    def _remove(self, name: str) -> None:
        safe_join(Path(), name)
        with writing(self.shown(name), "deleted"), suppress(FileNotFoundError):
            self.system.rm_file(self._at(name))

    def prepare(self) -> None:
        """Write a file and delete it, to find out whether the store allows it."""
        probe = f".cvdetect-unfinished-{secrets.token_hex(8)}"
        self.write(probe, b"cvdetect tests whether it may write here")
        with suppress(SinkError):  # not everyone who may write may delete
            self.remove([probe])

    def sweep(self) -> None:
        """There is nothing unfinished in a store."""

    @property
    def _protocol(self) -> str:
        protocol = self.system.protocol
        return str(protocol if isinstance(protocol, str) else protocol[0])

    def _at(self, name: str) -> str:
        return "/".join(part for part in (self.path.rstrip("/"), name.strip("/")) if part) or self.path

    def _put(self, name: str, put: Callable[[str], object]) -> None:
        safe_join(Path(), name)
        at = self._at(name)
        with writing(self.shown(name)):
            if self._protocol in _FLAT:
                put(at)
                return
            self.system.makedirs(posixpath.dirname(at), exist_ok=True)
            unfinished = posixpath.join(posixpath.dirname(at), f".cvdetect-unfinished-{secrets.token_hex(8)}")
            try:
                put(unfinished)
                self.system.mv(unfinished, at)
            except BaseException:
                with suppress(Exception):
                    self.system.rm_file(unfinished)
                raise

    def _send(self, method: str, size: int, *args: Any, **options: Any) -> None:
        """Call a method that sends `size` bytes.

        Stores' packages limit the wait for answers alone: one that sends after the store has agreed (as S3's do) could
        wait for ever.
        """
        if self.system.async_impl:
            timeout = _SEND_S + size / _SLOWEST
            act = getattr(self.system, f"_{method}")
            wait_for(self.system.loop, act, *args, timeout=timeout, **options)
        else:
            getattr(self.system, method)(*args, **options)

    def _each(self, act: Callable[[str], Any], names: Iterable[str]) -> Iterator[Any]:
        """The results of `act` for each name, in order; several at once where the store's package can do that."""
        if not self.system.async_impl:
            yield from map(act, names)
            return
        remaining = iter(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while chunk := list(islice(remaining, _CHUNK)):
                yield from pool.map(act, chunk)


def _is_text(name: str) -> bool:
    """Whether a store can have a file of that name at all: they are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
