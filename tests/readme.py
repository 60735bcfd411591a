"""The README's commands: ``python3 tests/readme.py main`` and ``... test`` print the two that must always work."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def main_command() -> str:
    """The first ``sh`` block: sets all up and runs the main job on a sample picture."""
    found = _BLOCK.search(README.read_text(encoding="utf-8"))
    assert found, "README.md has no sh block"
    return found[1].strip()


def test_command() -> str:
    """The first ``sh`` block under a heading with the word "test": sets up and passes the tests."""
    text = README.read_text(encoding="utf-8")
    heading = re.search(r"^#+ .*\btest", text, re.MULTILINE | re.IGNORECASE)
    assert heading, "README.md has no heading with the word test"
    found = _BLOCK.search(text, heading.end())
    assert found, "no sh block under the test heading"
    return found[1].strip()


test_command.__test__ = False  # type: ignore[attr-defined]  # a helper, not a test

if __name__ == "__main__":
    print({"main": main_command, "test": test_command}[sys.argv[1]]())
