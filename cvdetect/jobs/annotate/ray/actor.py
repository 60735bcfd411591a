"""What runs in the process of a Ray actor, on whatever node; it may be that cvdetect is not there."""

from __future__ import annotations

from typing import Any

__all__ = ["actor_class"]


def actor_class() -> type:
    """The class of actors. Ray sends a class that is made in a function by value, so that it can find out whether
    cvdetect is there; no other part of cvdetect may be named in it but inside of methods.
    """

    class Actor:
        def where(self) -> str:
            import socket

            import ray

            return f"node {socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:8]})"

        def load(self, version: str, order: bytes) -> Any:
            import pickle

            try:
                import cvdetect
            except ImportError as error:
                told = f"cvdetect cannot be imported there ({error}): install cvdetect {version} on every node"
                raise ImportError(told) from None
            if cvdetect.__version__ != version:
                told = f"has cvdetect {cvdetect.__version__}, this machine {version}: install the same on every node"
                raise ImportError(told)
            from cvdetect.jobs.annotate.ray.work import Worker

            self._worker = Worker(pickle.loads(order))
            return self._worker.loaded

        def do(self, names: Any, sent: Any) -> Any:
            return self._worker.do(names, sent)

    return Actor
