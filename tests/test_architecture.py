"""The arrows of the package: each room imports only rooms below it, and third parties have one door each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "cvdetect"

# From the top of the drawing in docs/architecture.md to the bottom; rooms of one row do not import each other.
ROWS = [
    ["__main__"],
    ["cli"],
    ["jobs"],
    ["inference"],
    ["models", "annotations", "sources", "sinks"],
    ["families", "formats", "runtime", "media", "storage"],
    ["core"],
    ["__init__"],
]
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}

# Third parties, and the only rooms or modules that import each.
DOORS = {
    "click": {"cli"},
    "rich": {"cli.console"},
    "yaml": {"models", "annotations", "formats.label_files"},
    "requests": {"models"},
    "urllib3": {"models"},
    "pypi_simple": {"models"},
    "filelock": {"models"},
    "platformdirs": {"models"},
    "pycocotools": {"jobs.evaluate"},
    "matplotlib": {"jobs.evaluate"},
    "cv2": {"core.cv"},
    "av": {"media"},
    "aiohttp": {"sinks"},
    "scipy": {"inference"},
    "fsspec": {"storage"},
    "ray": {"jobs.annotate.ray"},
    "imagesize": {"sources"},
    "pillow_heif": {"sources"},
    "pandas": {"core.detections"},  # what results are converted to, where it is there
    "supervision": {"core.detections"},
    "typing_extensions": {"inference.detector"},  # for type checkers alone
}
CV_USERS = {"sources", "inference.preprocess", "inference.nms", "runtime", "sinks", "jobs.doctor"}
NUMPY_ONLY = {"families", "formats", "inference.tiling", "core"}
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


def module_of(path: Path) -> str:
    """``cvdetect/core/boxes.py`` → ``core.boxes``; a folder's ``__init__`` is the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def lies_in(module: str, places: set[str]) -> bool:
    """Whether a module is one of `places`, or lies in one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_third_parties_come_through_their_own_door(path: Path) -> None:
    here = module_of(path)
    for module, name in imports(path):
        top = module.split(".")[0]
        if top in DOORS:
            assert lies_in(here, DOORS[top]), f"{here} imports {top}"
        elif (module, name) == ("cvdetect.core", "cv") or module == "cvdetect.core.cv":
            assert lies_in(here, CV_USERS), f"{here} uses OpenCV"
            assert not lies_in(here, NUMPY_ONLY), f"{here} runs on numpy alone"
        elif top not in ("cvdetect", "numpy"):
            assert top in STANDARD, f"{here} imports {top}, which has no door"


def test_modules_do_not_import_in_a_circle() -> None:
    graph = {module_of(path): set(own_imports(path)) for path in files() if module_of(path) != "__init__"}
    graph["__init__"] = set()  # the public names are loaded when they are touched
    while leaves := [module for module, targets in graph.items() if not targets & graph.keys() - {module}]:
        for module in leaves:
            del graph[module]
    assert not graph, f"import each other in a circle, or stand above one: {sorted(graph)}"


def own_imports(path: Path) -> Iterator[str]:
    """The package's own modules that a file imports."""
    modules = {module_of(other) for other in files()}
    for module, name in imports(path):
        if module.split(".")[0] == "cvdetect":
            below = module.removeprefix("cvdetect").lstrip(".")
            inner = f"{below}.{name}".lstrip(".")
            yield inner if inner in modules else below or "__init__"


def test_every_row_names_rooms_that_exist() -> None:
    rooms = {room_of(path) for path in files()}
    assert set(RANK) == rooms


def test_the_drawing_shows_these_rows() -> None:
    drawing = (PACKAGE.parent / "docs" / "architecture.svg").read_text(encoding="utf-8")
    rooms = re.findall(r'y="([\d.]+)" text-anchor="middle" font-weight="600">(\w+)/<', drawing)
    rows = {height: {name for y, name in rooms if y == height} for height in dict(rooms)}
    in_code = [set(row) for row in ROWS if not row[0].startswith("__")]
    assert [rows[height] for height in sorted(rows, key=float)] == in_code


def test_no_file_is_longer_than_400_lines_and_no_function_than_50() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert length <= 50, f"{path}: {node.name} has {length} lines"
