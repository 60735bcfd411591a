"""Workers on a Ray cluster: an actor each, started where there is room, watched, and replaced when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cvdetect import __version__
from cvdetect.core.arguments import arg
from cvdetect.core.errors import BackendError, CvdetectError, MissingPackage
from cvdetect.core.printable import counted
from cvdetect.core.progress import Progress
from cvdetect.jobs.annotate.ray.chunks import Chunk, Event, Finished, Joined, Lost
from cvdetect.jobs.annotate.ray.connection import answers, head_of
from cvdetect.jobs.annotate.ray.worker import ChunkContext, WorkerConfig

__all__ = ["Needs", "RayPool", "actor_class"]


_CHECK_S = 5.0  # between two checks of the cluster's nodes
_HEADLESS_S = 20.0  # without an answer of the cluster's head
_MOST_STILLBORN = 5


@dataclass(frozen=True, slots=True)
class Needs:
    """What an actor occupies on its node: cores and GPUs."""

    cpus: int = 1
    gpus: int = 0

    def room_on(self, resources: dict[str, float]) -> int:
        """How many actors a node with these resources holds."""
        cpus = int(resources.get("CPU", 0) // self.cpus)
        return min(cpus, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else cpus


@dataclass(slots=True)
class _Member:
    """An actor: its node, once it is known, and whether the model is loaded."""

    handle: Any
    where: str = ""
    joined: bool = False


class RayPool:
    """A `Pool` of actors. A context manager that ends them.

    Args:
        ray: the module, connected.
        assignment: an `Assignment`, pickled, because an actor first checks that cvdetect is installed on its node.
        agree: called with what an actor has loaded, and its node; raises where the actor must not join.
        context_of: a chunk's names → what `Worker.do` needs to know of them.
        wanted: number of actors; None: as many as the cluster has room for.
        most: never more than these actors.
        patience: seconds that may pass without any actor.
    """

    def __init__(
        self,
        ray: Any,
        assignment: bytes,
        needs: Needs,
        agree: Callable[[WorkerConfig, str], None],
        context_of: Callable[[Sequence[str]], ChunkContext],
        progress: Progress,
        *,
        wanted: int | None,
        most: int,
        patience: float,
    ) -> None:
        self._ray = ray
        self._assignment = assignment
        self._needs = needs
        self._agree = agree
        self._context_of = context_of
        self._progress = progress
        self._wanted = wanted
        self._most = most
        self._patience = patience
        self._class = ray.remote(actor_class())
        self._members: dict[int, _Member] = {}
        self._calls: dict[Any, tuple[int, str]] = {}  # call → member, and what was called
        self._number = 0
        self._checked = 0.0
        self._alive_at = time.monotonic()
        self._head, self._head_at = head_of(ray), time.monotonic()
        self._early: list[Event] = []
        self._stillborn = 0  # actors in a row that died before they had loaded the model

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members.values():
            self._ray.kill(member.handle)
        self._members.clear()

    def wait_for_first(self) -> None:
        """Return when an actor has joined. The next `events` report what happens meanwhile.

        Raises:
            As `events`.
        """
        while not any(member.joined for member in self._members.values()):
            self._early = [*self._early, *self.events(0.5)]

    def give(self, worker: int, chunk: Chunk) -> None:
        """As `Pool.give`."""
        call = self._members[worker].handle.do.remote(chunk.names, self._context_of(chunk.names))
        self._calls[call] = worker, "do"

    def events(self, seconds: float) -> list[Event]:
        """As `Pool.events`.

        Raises:
            BackendError: there has been no actor for too long, or one must not join.
            CvdetectError: what an actor raised.
        """
        if self._early and any(member.joined for member in self._members.values()):
            early, self._early = self._early, []
            return early
        self._check_cluster()
        if not self._calls:
            time.sleep(min(seconds, 0.1))
            return []
        self._ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        ready, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        results = [(*self._calls.pop(call), *self._result(call)) for call in ready]
        reported = [self._report(number, what, value) for number, what, value, lost in results if not lost]
        # What an actor has finished counts, even if it died right after.
        gone = [self._remove(number, why) for number, _, why, lost in results if lost]
        return [event for events in (*reported, *gone) for event in events]

    def _check_cluster(self) -> None:
        """From time to time: start actors where there is room; give up where there has been none for too long."""
        now = time.monotonic()
        if any(member.where for member in self._members.values()):
            self._alive_at = now
        elif now - self._alive_at > self._patience:
            raise BackendError(self._no_worker())
        if (now - self._checked < _CHECK_S and self._checked) or not self._head_answers(now):
            return
        self._checked = now
        room = self._room()
        for _ in range(min(self._wanted or room, self._most) - len(self._members)):
            self._start()

    def _head_answers(self, now: float) -> bool:
        """Whether the cluster's head answers: without it Ray's calls wait for a minute, then end the process."""
        if self._head is None or answers(self._head):
            self._head_at = now
            return True
        if now - self._head_at > _HEADLESS_S:
            raise BackendError(
                f"{arg('engine', 'ray')}: the head of the Ray cluster, {self._head}, has not answered for "
                f"{_HEADLESS_S:g} s; what is done is kept, continue with {arg('resume', True)}"
            )
        return False

    def _room(self) -> int:
        """Actors that the nodes that are alive can hold, whatever else runs there."""
        return sum(self._needs.room_on(node["Resources"]) for node in self._ray.nodes() if node["Alive"])

    def _no_worker(self) -> str:
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        what = f"{self._needs.cpus} CPU" + (f" and {self._needs.gpus} GPU" if self._needs.gpus else "")
        return (
            f"{arg('engine', 'ray')}: no worker for {self._patience:g} s: {counted(len(nodes), 'node')} alive, "
            f"with room for {counted(self._room(), 'worker')} of {what} beside other work; "
            f"what is done is kept, continue with {arg('resume', True)}"
        )

    def _start(self) -> None:
        handle = self._class.options(num_cpus=self._needs.cpus, num_gpus=self._needs.gpus, max_restarts=0).remote()
        self._number += 1
        self._members[self._number] = _Member(handle)
        self._calls[handle.where.remote()] = self._number, "where"
        self._calls[handle.load.remote(__version__, self._assignment)] = self._number, "load"

    def _result(self, call: Any) -> tuple[Any, bool]:
        """What a call returned or raised, and False; or why its actor is gone, and True."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call), False
        except errors.RayTaskError as error:
            return error.cause, False
        except errors.RayError as error:
            return error, True

    def _report(self, number: int, what: str, value: Any) -> list[Event]:
        """The events that follow from an actor's result."""
        member = self._members.get(number)
        if member is None:  # it counts as dead already
            return []
        if isinstance(value, Exception):
            raise _from_node(value, member.where) from value
        if what == "where":
            member.where = value
            return []
        if what == "do":
            outcomes, seconds = value
            return [Finished(number, outcomes, seconds)]
        self._agree(value, member.where)
        member.joined = True
        self._stillborn = 0
        self._progress.detail(f"{member.where}: a worker is ready")
        return [Joined(number)]

    def _remove(self, number: int, why: Exception) -> list[Event]:
        """An actor has died, or cannot be reached: make sure that it is dead."""
        member = self._members.pop(number, None)
        if member is None:  # reported already
            return []
        self._ray.kill(member.handle)
        self._stillborn += not member.joined
        if self._stillborn >= _MOST_STILLBORN:
            raise BackendError(f"{member.where or 'a node'}: workers die while loading the model: {_why(why)}")
        return [Lost(number, member.where or "a node", _why(why))]


def _why(error: Exception) -> str:
    """Ray's long message as a few words."""
    names = {
        "OutOfMemoryError": "out of memory",
        "NodeDiedError": "its node died",
        "ActorUnavailableError": "it cannot be reached",
        "ActorDiedError": "its process or node ended",
    }
    name = type(error).__name__
    return names.get(name, name)


def _from_node(error: Exception, where: str) -> Exception:
    """The same error, with the node's name where that helps."""
    if isinstance(error, CvdetectError):
        return type(error)(f"{where}: {error}")
    if isinstance(error, ImportError):
        return MissingPackage(f"{where}: {error}")
    return error


def actor_class() -> type:
    """The class of actors. Ray sends a class that is made in a function by value, so it can report that cvdetect is
    not installed on its node; it must not refer to other parts of cvdetect except inside methods.
    """

    class Actor:
        def where(self) -> str:
            import socket

            import ray

            return f"node {socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:8]})"

        def load(self, version: str, assignment: bytes) -> Any:
            import pickle

            try:
                import cvdetect
            except ImportError as error:
                message = f"cvdetect cannot be imported there ({error}): install cvdetect {version} on every node"
                raise ImportError(message) from None
            if cvdetect.__version__ != version:
                message = f"has cvdetect {cvdetect.__version__}, this machine {version}: install the same on every node"
                raise ImportError(message)
            from cvdetect.jobs.annotate.ray.worker import Worker

            self._worker = Worker(pickle.loads(assignment))
            return self._worker.loaded

        def do(self, names: Any, context: Any) -> Any:
            return self._worker.do(names, context)

    return Actor
