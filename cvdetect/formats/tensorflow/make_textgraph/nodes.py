"""Builders of a text graph's nodes as OpenCV's importer reads them (its tf_importer.cpp)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from cvdetect.formats.prototext import Field, Message
from cvdetect.formats.tensorflow.graphdef import DType, Node, Shape

__all__ = [
    "OWN", "attribute", "concat", "constant",
    "convert_scores", "flatten", "make", "network", "placeholder", "reshape", "slice_from",
]  # fmt: skip

OWN = "cvdetect/"
"""The scope of constants that are not in the graph: OpenCV takes no two constants of one name."""

Attributes = dict[str, "Message | bool | int | float | str | Sequence[float] | Sequence[int]"]
# What OpenCV's importer reads; the rest (types, counts) only makes the file longer.
_KEPT = frozenset(
    {
        "align_corners", "alpha", "axis", "data_format", "dilations", "epsilon", "half_pixel_centers", "keep_dims",
        "keepdims", "ksize", "padding", "squeeze_dims", "strides", "transpose_a", "transpose_b",
    }
)  # fmt: skip


def make(name: str, op: str, inputs: Sequence[str] = (), **attributes: object) -> Message:
    """A node; an attribute is a bool, int, float, str, a list (a constant tensor), or a ready `Message`."""
    fields = [Field("name", name.encode()), Field("op", op.encode())]
    fields += [Field("input", each.encode()) for each in inputs]
    return Message((*fields, *(attribute(key, attributes[key]) for key in sorted(attributes))))


def attribute(key: str, value: object) -> Field:
    """One attribute of a node."""
    return Field("attr", Message((Field("key", key.encode()), Field("value", _value(value)))))


def _value(value: object) -> Message:
    if isinstance(value, Message):
        return value
    if isinstance(value, bool):
        return Message((Field("b", "true" if value else "false"),))
    if isinstance(value, int):
        return Message((Field("i", str(value)),))
    if isinstance(value, float):
        return Message((Field("f", _decimal(value)),))
    if isinstance(value, str):
        return Message((Field("s", value.encode()),))
    assert isinstance(value, (list, tuple)), value
    return Message((Field("tensor", _tensor(value)),))


def _decimal(value: float) -> str:
    """The shortest decimal number with the same float32."""
    return str(np.float32(value))


def _tensor(values: Sequence[float]) -> Message:
    whole = all(isinstance(each, int) for each in values)
    size = Message((Field("dim", Message((Field("size", str(len(values))),))),))
    numbers = [Field("int_val", str(each)) if whole else Field("float_val", _decimal(each)) for each in values]
    return Message((Field("dtype", "DT_INT32" if whole else "DT_FLOAT"), Field("tensor_shape", size), *numbers))


def _from_graph(node: Node) -> Message:
    """A node of the frozen graph, with the attributes that OpenCV reads."""
    kept = {key: node.attribute(key) for key in sorted(_KEPT & node.raw.keys())}
    fields = [attribute(key, found) for key, value in kept.items() if (found := _copied(value)) is not None]
    return Message((*make(node.name, node.op, node.inputs).fields, *fields))


def network(nodes: Iterable[Node], box_codes: Collection[str]) -> list[Message]:
    """Nodes of the frozen graph; those that give `box_codes` are marked, as TensorFlow has these in the order y, x."""
    mark = attribute("loc_pred_transposed", True)
    made = [(_from_graph(node), node.name) for node in nodes]
    return [Message((*each.fields, mark)) if name in box_codes else each for each, name in made]


def _copied(value: object) -> object:
    """An attribute's value as `attribute` takes it; None for kinds that no node of a text graph has."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, tuple) and all(isinstance(each, int) for each in value):
        return Message((Field("list", Message(tuple(Field("i", str(each)) for each in value))),))
    return value if isinstance(value, (bool, int, float)) and not isinstance(value, (DType, Shape)) else None


def constant(name: str, values: Sequence[int] | Sequence[float]) -> Message:
    """A constant of one dimension."""
    return make(name, "Const", value=list(values))


def placeholder(name: str, wh: tuple[int, int] | None) -> Message:
    """The input for images, (any, height, width, 3); `wh` is None for any size."""
    width, height = wh or (-1, -1)
    dims = tuple(Field("dim", Message((Field("size", str(size)),))) for size in (-1, height, width, 3))
    shape = Message((Field("shape", Message(dims)),))
    return make(name, "Placeholder", dtype=Message((Field("type", "DT_UINT8"),)), shape=shape)


def flatten(name: str, source: str) -> Message:
    """(N, …) → (N, values)."""
    return make(name, "Flatten", [source])


def reshape(name: str, source: str, shape: Sequence[int]) -> list[Message]:
    """A reshape to constant sizes; 0 keeps a size, -1 takes the rest."""
    return [constant(f"{OWN}{name}/shape", shape), make(name, "Reshape", [source, f"{OWN}{name}/shape"])]


def _divided(name: str, source: str, by: float) -> list[Message]:
    """The source divided by a number."""
    return [constant(f"{OWN}{name}/factor", [1 / by]), make(name, "Mul", [source, f"{OWN}{name}/factor"])]


def convert_scores(name: str, source: str, converter: str, scale: float) -> list[Message]:
    """Logits to scores: divided by `scale`, then "SIGMOID", "SOFTMAX" (over the last axis) or "IDENTITY"."""
    scaled = _divided(f"{name}/scaled", source, scale) if scale != 1 else []
    source = f"{name}/scaled" if scaled else source
    axis = {"axis": -1} if converter == "SOFTMAX" else {}
    return [*scaled, make(name, converter.capitalize(), [source], **axis)]


def slice_from(name: str, source: str, begins: Sequence[int], sizes: Sequence[int]) -> list[Message]:
    """A slice; size -1 goes to the end."""
    first, second = f"{OWN}{name}/begin", f"{OWN}{name}/size"
    return [constant(first, begins), constant(second, sizes), make(name, "Slice", [source, first, second])]


def concat(name: str, sources: Sequence[str]) -> list[Message]:
    """The sources concatenated along their last axis."""
    return [constant(f"{OWN}{name}/axis", [-1]), make(name, "ConcatV2", [*sources, f"{OWN}{name}/axis"])]
