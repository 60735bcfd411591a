"""The arrows of the package: each room imports only rooms below it, and third parties have one door each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "cvdetect"

# From the top of the stream's drawing to the bottom; rooms of one row do not import each other.
ROWS = [
    ["__main__"],
    ["cli"],
    ["console"],
    ["annotate", "bench", "detect_images", "detect_video", "detect_webcam", "diagnose", "evaluate", "write_text_graph"],
    ["pipeline"],
    ["tracking"],
    ["detector"],
    ["loader"],
    ["sources", "preprocess", "network", "decoders", "suppress", "sinks", "annotations", "zoo"],
    ["label_files"],
    ["formats"],
    ["media", "storage", "outputs"],
    ["options", "files", "sniff", "signals", "json_records", "tags"],
    ["tiling"],
    ["masks", "resize"],
    ["spec", "labels", "detections", "cv", "targets"],
    ["frame", "boxes", "events", "errors", "natural_order", "printable"],
    ["redact"],
    ["__init__"],
]
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}

DOORS = {
    "click": {"cli"},
    "rich": {"console"},
    "yaml": {"zoo", "annotations", "label_files"},
    "requests": {"zoo"},
    "urllib3": {"zoo"},
    "pypi_simple": {"zoo"},
    "filelock": {"zoo"},
    "platformdirs": {"zoo"},
    "pycocotools": {"evaluate"},
    "matplotlib": {"evaluate"},
    "cv2": {"cv"},
    "av": {"media"},
    "aiohttp": {"sinks"},
    "scipy": {"tracking"},
    "fsspec": {"storage"},
    "ray": {"annotate"},
    "imagesize": {"sources"},
    "pillow_heif": {"sources"},
}
CV_ROOMS = {"sources", "preprocess", "network", "suppress", "sinks", "diagnose"}
NUMPY_ONLY = {"decoders", "tiling", "boxes", "detections", "masks", "resize", "formats", "labels", "frame"}
STANDARD = set(__import__("sys").stdlib_module_names)


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import in a file, also inside functions; ``if TYPE_CHECKING`` in __init__ counts too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def imported_room(module: str, name: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else (name if name in RANK else "__init__")


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    assert room in RANK, f"{room} stands in no row of ROWS"
    if room == "__init__":
        return  # the public names are loaded when they are touched
    for module, name in imports(path):
        if module.split(".")[0] == "cvdetect":
            target = imported_room(module, name)
            assert target == room or RANK[target] > RANK[room], f"{room} imports {target}"


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_third_parties_come_through_their_own_door(path: Path) -> None:
    room = room_of(path)
    for module, _ in imports(path):
        top = module.split(".")[0]
        if top in DOORS:
            assert room in DOORS[top], f"{room} imports {top}"
        elif module == "cvdetect.cv":
            assert room in CV_ROOMS, f"{room} uses OpenCV"
        elif top not in ("cvdetect", "numpy"):
            assert top in STANDARD, f"{room} imports {top}, which has no door"
        if room in NUMPY_ONLY:
            assert module != "cvdetect.cv", f"{room} runs on numpy alone"


def test_every_row_names_rooms_that_exist() -> None:
    rooms = {room_of(path) for path in files()}
    assert set(RANK) == rooms


def test_no_file_is_longer_than_400_lines_and_no_function_than_50() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert length <= 50, f"{path}: {node.name} has {length} lines"
