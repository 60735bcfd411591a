"""How messages name arguments: as Python does, or, while a command runs, by its options.

The library has no options: ``DetectOptions(nms=2)`` fails with "nms 2: …". A message never spells a name itself; it
asks `arg`. The command line enters `spelled_by` and reads f"{arg('nms')} 2: …".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Spelling", "arg", "current_spelling", "python_spelling", "spelled_by"]

Spelling = Callable[[str, object], str]  # the name, and the value to give it (None: the name alone)


def python_spelling(name: str, value: object = None) -> str:
    """``nms``, or ``nms=0.4``."""
    return name if value is None else f"{name}={value!r}"


_spelling: list[Spelling] = [python_spelling]


def arg(name: str, value: object = None) -> str:
    """An argument in a message: ``precision``, with a value how it is given, ``precision='fp32'``.

    On the command line these are ``--precision`` and ``--precision fp32``. It is asked when the message is made, never
    in a constant.
    """
    return _spelling[-1](name, value)


def current_spelling() -> Spelling:
    """How names are spelled now, for a process that is started to do a part of the work."""
    return _spelling[-1]


@contextmanager
def spelled_by(spelling: Spelling) -> Iterator[None]:
    """Within, messages of every thread of this process name arguments in that way."""
    _spelling.append(spelling)
    try:
        yield
    finally:
        _spelling.pop()
