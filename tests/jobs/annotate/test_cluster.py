"""What is reported before any cluster is reached."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cvdetect.core.errors import BackendError
from cvdetect.core.labels import BUILT_IN
from cvdetect.jobs.annotate.ray import connection as cluster
from cvdetect.jobs.annotate.ray.engine import _Agreement
from cvdetect.jobs.annotate.ray.pool import Needs, actor_class
from cvdetect.jobs.annotate.ray.worker import WorkerConfig
from cvdetect.runtime import Ran
from tests.conftest import Cli

RAN = Ran("opencv", "opencv", "cpu", "a device", "fp32")


def test_without_ray_the_extra_is_named_before_anything_is_looked_at(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    done = cli("annotate", tmp_path, "--out", tmp_path / "out", "--engine", "ray")
    assert done.code == 3
    assert "pip install 'cvdetect[ray]'" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["--ray-address", "auto"], "--ray-address auto goes with --engine ray"),
        (["--engine", "spark"], "'spark' is not one of 'local', 'ray'"),
        (["--engine", "ray", "--backend", "cuda", "--device-id", 1], "--device-id 1 goes with --engine local"),
        (["--engine", "ray", "--workers", 0], "--workers 0: at least 1 is needed"),
    ],
)
def test_options_that_do_not_go_together_are_reported(
    cli: Cli, tmp_path: Path, words: list[object], reported: str
) -> None:
    done = cli("annotate", tmp_path, "--out", tmp_path / "out", *words)
    assert done.code == 2
    assert reported in done.err


def test_something_that_is_no_ray_cluster_is_reported_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the package ray is not installed")
    monkeypatch.setattr(cluster, "_TRY_S", 2)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BackendError, match="no Ray cluster answers within 2 s"):
            cluster.check_cluster(f"127.0.0.1:{other.getsockname()[1]}")


@pytest.mark.parametrize(
    "address", ["no.such.host.invalid:6379", "ray://no.such.host.invalid:10001", "127.0.0.1:99999"]
)
def test_an_address_that_is_none_is_reported(address: str) -> None:
    pytest.importorskip("ray", reason="the package ray is not installed")
    with pytest.raises(BackendError, match=f"ray_address {address}: the Ray cluster cannot be reached: "):
        cluster.check_cluster(address)


def test_what_ray_states_becomes_one_line() -> None:
    reported = "[a log line] Error: not this\nRuntimeError: Version mismatch:\n    Ray: 2.9.0\n    Python: 3.10\n"
    assert cluster._reason(reported) == "Version mismatch: Ray: 2.9.0 Python: 3.10"
    assert cluster._reason("") == "it ended at once"


def test_a_node_without_cvdetect_is_reported_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cvdetect", None)
    with pytest.raises(ImportError, match=r"cvdetect cannot be imported there .+: install cvdetect 1\.2 on every node"):
        actor_class()().load("1.2", b"never unpickled")


def loaded(**changes: object) -> WorkerConfig:
    values = {"ran": RAN, "options": {"--model": "m"}, "digests": {"weights w": (1, 2, "a" * 64)}, **changes}
    return WorkerConfig("m", BUILT_IN["coco80"](0), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"ran": Ran("opencv", "cuda", "cuda", "a GPU", "fp32")}, "backend: cuda, on node a opencv; target: cuda"),
        ({"digests": {"weights w": (1, 2, "b" * 64)}}, "the model's weights w: sha256 bbbbbbbbbbbb…, on this machine"),
        ({"options": {"--model": "other"}}, "model: other, on this machine m"),
    ],
)
def test_a_worker_that_would_give_other_results_may_not_join(changes: dict[str, object], reported: str) -> None:
    agreement = _Agreement({"--model": "m"}, {"weights w": (7, 8, "a" * 64)})
    agreement.join(loaded(), "node a")
    agreement.join(loaded(ran=Ran("opencv", "opencv", "cpu", "another device", "fp32")), "node c")
    assert agreement.loaded.ran.device == "a device"
    with pytest.raises(BackendError) as error:
        agreement.join(loaded(**changes), "node b")
    assert str(error.value).startswith("node b: would give other results") and reported in str(error.value)


@pytest.mark.parametrize(
    ("needs", "resources", "room"),
    [
        (Needs(), {"CPU": 8.0}, 8),
        (Needs(3), {"CPU": 8.0}, 2),
        (Needs(), {"memory": 1.0}, 0),
        (Needs(1, 1), {"CPU": 8.0, "GPU": 2.0}, 2),
        (Needs(1, 1), {"CPU": 8.0}, 0),
    ],
)
def test_a_node_has_room_for_so_many_workers(needs: Needs, resources: dict[str, float], room: int) -> None:
    assert needs.room_on(resources) == room
