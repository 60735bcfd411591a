"""The sentence about a user's files that lie where a run would write."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cvdetect.core.errors import UsageError
from cvdetect.jobs.annotate.own import Look
from cvdetect.storage import Folder

__all__ = ["refusal"]

_NAMED = 5


def refusal(out: Folder, files: Sequence[tuple[str, Look]], more: int = 0) -> UsageError:
    """Why nothing is written: each file as it is shown, with what lies there, and how many there are beyond these."""
    sorts: dict[str, Callable[[Look], bool]] = {
        "are not this run's own": lambda look: not look.edited and look.found.kind in ("file", "link"),
        "were edited since they were written": lambda look: look.edited,
        "are folders or pipes, lie below a file, or may not be looked at": lambda look: (
            look.found.kind not in ("file", "link")
        ),
    }
    reasons = {why: [shown for shown, look in files if of_sort(look)] for why, of_sort in sorts.items()}
    told = "; ".join(f"{', '.join(names)} {why}" for why, names in reasons.items() if names)
    rest = f", and {more} more" if more > 0 else ""
    return UsageError(
        f"{out}: files would be replaced that may be somebody's work: {told}{rest}.\n"
        "Give another --out, or move them away; --overwrite replaces files, not folders or pipes"
    )
