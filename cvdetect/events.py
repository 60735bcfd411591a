"""What goes against the stream: news for the person who waits."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """How the library tells what it is doing. The console draws it; as a library it is `Silent`."""

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """A task starts; `total` is None where its length is unknown; `unit` is "B" for bytes."""

    def advance(self, amount: int = 1) -> None:
        """`amount` more units of the current task are done."""

    def end(self) -> None:
        """The current task is over, done or not."""

    def note(self, message: str) -> None:
        """One line a person would want to know (a pull starts, a source failed)."""

    def detail(self, message: str) -> None:
        """One line for those who ask for more (what really ran)."""

    def warn(self, message: str) -> None:
        """One line a person must know (something asked for is not as they may think)."""


class Silent:
    """A `Progress` that says nothing."""

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def end(self) -> None: ...

    def note(self, message: str) -> None: ...

    def detail(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...
