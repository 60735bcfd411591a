"""Measures the structure of the package: files, rooms, arrows between rooms, and the sizes of files and functions.

    python benchmarks/structure.py [FOLDER]

A room is an entry at the package's root: a folder, or a single module. An arrow is an ordered pair of rooms, the first
of which imports the second; a climb is an arrow whose opposite has more imports behind it (0 where imports go one way).
Imports inside functions count, as they are real dependencies. A function's length is that of its body without the
docstring.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    package = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "cvdetect")
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    for name, value in {**sizes(trees), **imports(package, trees)}.items():
        print(f"{name:42} {value}")


def sizes(trees: dict[Path, ast.Module]) -> dict[str, object]:
    """Lines of files and of functions."""
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in trees}
    longest = max(lines, key=lines.__getitem__)
    lengths = sorted(length(node) for tree in trees.values() for node in ast.walk(tree) if isinstance(node, Function))
    return {
        "files": len(trees),
        "lines": sum(lines.values()),
        "longest file": f"{lines[longest]} ({longest.name})",
        "functions": len(lengths),
        "function lines: median, 90 %, longest": f"{at(lengths, 0.5)}, {at(lengths, 0.9)}, {lengths[-1]}",
    }


def length(node: Function) -> int:
    """Lines of the body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def at(ordered: list[int], share: float) -> int:
    """The value at a quantile of an ordered list."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def imports(package: Path, trees: dict[Path, ast.Module]) -> dict[str, object]:
    """Rooms, arrows between them, and modules that one file alone imports."""
    modules = {module_name(package, path) for path in trees}
    importers: dict[str, set[str]] = {module: set() for module in modules}
    arrows: Counter[tuple[str, str]] = Counter()
    for path, tree in trees.items():
        here = module_name(package, path)
        for target in imported(tree, modules):
            if target != here:
                importers[target].add(here)
            if room(here) != room(target):
                arrows[room(here), room(target)] += 1
    single = [module for module, users in importers.items() if len(users) == 1 and module != package.name]
    climbs = sum(1 for (a, b), count in arrows.items() if arrows.get((b, a), 0) > count)
    return {
        "entries at the root": len({room(module) for module in modules}),
        "arrows between rooms": len(arrows),
        "climbs": climbs,
        "modules with one importer": len(single),
    }


def module_name(package: Path, path: Path) -> str:
    """``cvdetect/cli/image.py`` → ``cvdetect.cli.image``; a folder's ``__init__`` is the folder."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """The package's own modules that a file imports."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in inner]
        yield from (name for name in dict.fromkeys(names) if name in modules)


def room(module: str) -> str:
    """The package's entry at its root that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


if __name__ == "__main__":
    main()
