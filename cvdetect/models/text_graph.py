"""The text graph of a TensorFlow model: the file that came with it, else one made from the frozen graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.progress import Progress
from cvdetect.core.spec import ModelSpec
from cvdetect.formats.tensorflow import textgraph
from cvdetect.formats.tensorflow.graphdef import Graph, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions, input_size, make_text_graph
from cvdetect.models.opened import read_text

__all__ = ["TextGraphSource", "check_belongs", "find_text_graph"]


@dataclass(frozen=True, slots=True)
class TextGraphSource:
    """A text graph, what errors call it, and the frozen graph, where it was made of that."""

    text: str
    name: str
    graph: Graph | None = None


def find_text_graph(
    spec: ModelSpec, config: Path | None, graph: NDArray[np.uint8], path: Path, progress: Progress
) -> TextGraphSource:
    """Read `config`, or make a text graph of the frozen `graph`, uint8 (size,), the content of the file `path`.

    Raises:
        ModelFileError: the file cannot be read, or no text graph can be made.
        UsageError: a size is asked for that the graph cannot take.
    """
    if config is not None:
        return TextGraphSource(read_text(config), str(config))
    parsed = read_graph_def(graph, str(path))
    known = input_size(parsed)
    if known and spec.input.wh not in (None, known):
        wanted, takes = ("x".join(map(str, wh)) for wh in (spec.input.wh or known, known))
        raise UsageError(f"--size {wanted} cannot act on {spec.name}: its graph takes pictures of {takes} only")
    try:
        made = make_text_graph(parsed, TextGraphOptions(input_wh=None if known else spec.input.wh))
    except ModelFileError as error:
        raise ModelFileError(
            f"{error} (no text graph was given as --config; cvdetect textgraph has options for what is not known)"
        ) from error
    progress.note(f"{spec.name}: no text graph was given, made one of the {made.kind} in {path.name}")
    return TextGraphSource(made.text, str(path), parsed)


def check_belongs(text: str, config: Path, graph: NDArray[np.uint8], path: Path) -> None:
    """Look for the weights that the text graph `text` names, in the frozen `graph`, uint8 (size,).

    Raises:
        ModelFileError: some are not there: the text graph is another model's, or the graph is no frozen graph.
    """
    nodes = list(textgraph.parse(text, str(config)).messages("node"))
    made = {node.string("name") for node in nodes}
    taken = {
        value.decode("utf-8", "replace").lstrip("^").partition(":")[0]
        for node in nodes
        for value in node.all("input")
        if isinstance(value, bytes)
    }
    missing = sorted(taken - made - read_graph_def(graph, str(path)).nodes.keys())
    if missing:
        raise ModelFileError(
            f"{config}: is the text graph of another model: {path} has no {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}; take the one that belongs to it, or none"
        )
