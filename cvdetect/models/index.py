"""The Python package index: which one to ask, and where it has a named file. The only user of pypi-simple."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cvdetect.core.redact import redact
from cvdetect.core.spec import Source
from cvdetect.models.download import PullError, RetryPolicy, http_reason

if TYPE_CHECKING:
    import requests

__all__ = ["index_url", "locate", "pip_setting"]


def index_url() -> str | None:
    """CVDETECT_INDEX_URL, else the index that pip is set to; None: the default of the library pypi-simple."""
    return os.environ.get("CVDETECT_INDEX_URL") or pip_setting("index-url")


def pip_setting(name: str) -> str | None:
    """A setting as pip itself would find it: its environment variable, else its configuration files.

    Section [install] goes before [global], later files before earlier ones
    (https://pip.pypa.io/en/stable/topics/configuration/). Raises `PullError` for a file that cannot be read.
    """
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    found: dict[str, str] = {}
    for path in _pip_files():
        settings = _read_settings(path)
        for section in ("global", "install"):
            if settings.has_option(section, name):
                found[section] = settings.get(section, name).strip()
    return found.get("install") or found.get("global") or None


class _PipParser(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr.lower().replace("_", "-").removeprefix("--")  # as pip does


def _read_settings(path: Path) -> configparser.RawConfigParser:
    settings = _PipParser()
    try:
        settings.read(path, encoding="utf-8")  # a file that is not there is passed over
    except (configparser.Error, UnicodeDecodeError, OSError) as problem:
        raise PullError(f"pip's configuration {path} cannot be read: {str(problem).splitlines()[0]}") from None
    return settings


def _pip_files() -> Iterator[Path]:
    """pip's configuration files, those that count more later."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    yield from (folder / name for folder in _site_folders())
    if not (named and Path(named).exists()):
        yield from (folder / name for folder in _user_folders())
    yield Path(sys.prefix) / name
    if named:
        yield Path(named)


def _site_folders() -> list[Path]:
    if sys.platform == "win32":
        return [Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip"]
    if sys.platform == "darwin":
        return [Path("/Library/Application Support/pip")]
    shared = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return [*(Path(folder) / "pip" for folder in shared.split(os.pathsep)), Path("/etc")]


def _user_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        return [home / "pip", Path(os.environ.get("APPDATA", home / "AppData/Roaming")) / "pip"]
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip"
    if sys.platform == "darwin" and (home / "Library/Application Support/pip").is_dir():
        folder = home / "Library/Application Support/pip"
    return [home / ".pip", folder]


def locate(session: requests.Session, source: Source, policy: RetryPolicy) -> tuple[str, str | None]:
    """The address of the package file that `source` names, and its sha256 by the index, None where it states none.

    The address may hold the password of the index: never show it.

    Raises:
        PullError: the index cannot be asked, has no such file, or has another one under its name.
    """
    import pypi_simple
    import requests

    index = index_url()
    if index and urlsplit(index).scheme not in ("http", "https"):
        raise PullError(f"the package index {redact(index)} is not an http(s) address; set CVDETECT_INDEX_URL")
    asked = {"endpoint": index} if index else {}
    try:
        page = pypi_simple.PyPISimple(session=session, **asked).get_project_page(source.project, timeout=policy.timeout)
    except pypi_simple.NoSuchProjectError:
        raise PullError("the package index has no such package") from None
    except (requests.RequestException, ValueError, pypi_simple.UnsupportedRepoVersionError) as problem:
        raise PullError(f"the package index cannot be asked: {http_reason(problem)}") from None
    package = next((package for package in page.packages if package.filename == source.file), None)
    if package is None:
        raise PullError("the package index has the package, but not this file")
    digest = package.digests.get("sha256")
    if digest and source.sha256 and digest.lower() != source.sha256:
        raise PullError(f"the package index has another file under this name (sha256 {digest})")
    return _with_login(package.url, index), digest


def _with_login(url: str, index: str | None) -> str:
    """The address with the index's user name and password, where it is on the same server and has none itself."""
    target, base = urlsplit(url), urlsplit(index or "")
    login, at, host = base.netloc.rpartition("@")
    if not at or (target.scheme, target.netloc) != (base.scheme, host):
        return url
    return urlunsplit(target._replace(netloc=f"{login}@{host}"))
