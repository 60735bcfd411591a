"""``python -m cvdetect`` and the ``cvdetect`` command."""

from __future__ import annotations

import os
import sys

from cvdetect.cli.main import run

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(_written_out(run(sys.argv[1:])))


def _written_out(code: int) -> int:
    """Write what standard output still holds → the exit code; Python would do it later, with a traceback and 120."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what cannot be written goes there at the end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has gone, e.g. head
            return code or 1
        if not code:
            print(f"error: standard output: cannot be written: {error.strerror}", file=sys.stderr)
        return code or 4
    return code


if __name__ == "__main__":
    main()
