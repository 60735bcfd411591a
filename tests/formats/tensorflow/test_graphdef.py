"""TensorFlow's GraphDef, read from bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.graphdef import DType, Graph, Shape, read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import MadeTextGraph, make_text_graph
from tests.formats.tensorflow.test_make_textgraph import ssd
from tests.formats.tensorflow.tf_graphs import GraphWriter, shape, varint, wire


def graph_of(*attributes: tuple[str, bytes]) -> Graph:
    pairs = b"".join(wire(5, wire(1, key.encode()) + wire(2, value)) for key, value in attributes)
    return read_graph_def(wire(1, wire(1, b"n") + wire(2, b"Const") + pairs), "g.pb")


def tensor_of(dtype: int, sizes: tuple[int, ...], *fields: bytes) -> Graph:
    return graph_of(("value", wire(8, wire(1, dtype) + wire(2, shape(sizes)) + b"".join(fields))))


def test_nodes_have_names_operations_and_inputs() -> None:
    writer = GraphWriter()
    writer.add("a", "Placeholder", dtype=np.dtype(np.uint8), shape=(-1, 3))
    writer.add("b", "Split", "a", "a:1", "^a")
    graph = read_graph_def(writer.bytes(), "g.pb")
    assert list(graph.nodes) == ["a", "b"]
    assert (graph.nodes["b"].op, graph.nodes["b"].inputs) == ("Split", ("a", "a:1", "^a"))
    assert graph.nodes["b"].data == ("a", "a")
    assert graph.nodes["a"].attribute("dtype") == DType(4)
    assert graph.nodes["a"].attribute("shape") == Shape((-1, 3))
    assert graph.nodes["a"].attribute("missing") is None


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (wire(2, b"SAME"), b"SAME"),
        (wire(3, 7), 7),
        (wire(3, -1), -1),
        (wire(4, 0.5), 0.5),
        (wire(5, 1), True),
        (wire(6, 3), DType(3)),
        (wire(7, wire(3, 1)), Shape(None)),
        (wire(1, wire(3, 1) + wire(3, 2)), (1, 2)),
        (wire(1, wire(3, varint(1) + varint(300))), (1, 300)),
        (wire(1, wire(4, np.array([0.5, 2], "<f4").tobytes())), (0.5, 2.0)),
        (wire(1, wire(2, b"a") + wire(2, b"b")), (b"a", b"b")),
        (wire(10, b"a function"), None),
        (b"", None),
    ],
)
def test_attributes_of_every_kind_are_decoded(encoded: bytes, value: Any) -> None:
    assert graph_of(("key", encoded)).nodes["n"].attribute("key") == value


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (tensor_of(1, (2, 2), wire(5, np.array([1, 2, 3, 4], "<f4").tobytes())), [[1, 2], [3, 4]]),
        (tensor_of(1, (2,), wire(5, 1.5), wire(5, 2.5)), [1.5, 2.5]),
        (tensor_of(1, (3,), wire(5, 1.5)), [1.5, 1.5, 1.5]),
        (tensor_of(1, (2,)), [0, 0]),
        (tensor_of(1, (0,), wire(5, 1.5)), []),
        (tensor_of(3, (2,), wire(7, varint(-2) + varint(5))), [-2, 5]),
        (tensor_of(3, (), wire(7, 300)), 300),
        (tensor_of(9, (2,), wire(10, varint(1 << 40) + varint(1))), [1 << 40, 1]),
        (tensor_of(2, (1,), wire(6, np.array([0.25]).tobytes())), [0.25]),
        (tensor_of(10, (2,), wire(11, varint(1) + varint(0))), [True, False]),
        (tensor_of(19, (2,), wire(13, varint(0x3C00) + varint(0xC000))), [1.0, -2.0]),
        (tensor_of(19, (2,), wire(4, np.array([1, -2], "<f2").tobytes())), [1.0, -2.0]),
    ],
)
def test_constants_are_read_however_their_values_are_written(graph: Graph, expected: Any) -> None:
    value = graph.constant("n")
    assert value is not None
    assert value.tolist() == expected


@given(
    st.sampled_from([np.float32, np.int32, np.float16, np.uint8]),
    st.lists(st.integers(0, 4), max_size=4),
    st.randoms(use_true_random=False),
)
def test_a_constant_comes_back_as_it_was_written(dtype: Any, sizes: list[int], random: Any) -> None:
    values = np.array([random.randrange(200) for _ in range(int(np.prod(sizes)))]).astype(dtype).reshape(sizes)
    writer = GraphWriter()
    writer.const("n", values, dtype)
    if values.size == 1 and dtype in (np.float16, np.uint8):
        return  # the writer puts a single value into a field for float or int
    found = read_graph_def(writer.bytes(), "g.pb").constant("n")
    assert found is not None
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_a_constant_is_seen_through_copies() -> None:
    writer = GraphWriter()
    writer.const("weights", [1.0, 2.0])
    writer.add("read", "Identity", "weights")
    writer.add("again", "Identity", "read")
    writer.add("relu", "Relu", "weights")
    graph = read_graph_def(writer.bytes(), "g.pb")
    assert graph.constant("again") is not None
    assert graph.constant("relu") is None
    assert graph.constant("absent") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 133\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + b"\0" * 60, "a zip archive"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 60, "a TFLite model"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 60, "a Keras HDF5 file"),
        (wire(1, 1) + wire(2, wire(2, b"graph")), "a TensorFlow SavedModel"),
        (wire(1, 8) + wire(2, b"pytorch") + wire(7, wire(1, b"")), "an ONNX model"),
        (wire(1, wire(1, b"v1")) + wire(2, wire(1, b"")), "not a checkpoint or its .meta"),
        (b"\xff" * 80, "not a TensorFlow frozen graph, or is damaged"),
        (b"\x0b" * 80, "not a TensorFlow frozen graph, or is damaged"),
        (wire(4, wire(1, 987)), "holds no TensorFlow graph"),
    ],
)
def test_a_file_that_is_no_graph_is_named_as_what_it_is(content: bytes, words: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(words)) as told:
        read_graph_def(content, "x.pb")
    assert str(told.value).startswith("x.pb: ")


@pytest.mark.parametrize(
    "graph",
    [
        tensor_of(1, (3,), wire(4, b"\0" * 8)),
        tensor_of(1, (1,), wire(5, 1.0), wire(5, 2.0)),
        tensor_of(1, (1 << 20, 1 << 20), wire(5, 1.0)),
        tensor_of(1, (-1,), wire(5, 1.0)),
        tensor_of(3, (1,), wire(7, b"\xff")),
    ],
)
def test_a_damaged_constant_is_named(graph: Graph) -> None:
    with pytest.raises(ModelFileError, match=re.escape("g.pb: constant n is damaged")):
        graph.constant("n")


def test_a_graph_cut_short_is_refused_wherever_it_is_cut() -> None:
    content = ssd().writer.bytes()
    for size in range(1, len(content), len(content) // 50):
        try:
            make_text_graph(read_graph_def(content[:size], "cut.pb"))
        except ModelFileError as error:
            assert str(error).startswith("cut.pb: ")
        else:
            raise AssertionError(f"{size} of {len(content)} bytes made a text graph")


CONTENT = ssd().writer.bytes()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_graph_gives_a_text_graph_or_one_sentence(changes: list[tuple[int, int]]) -> None:
    content = bytearray(CONTENT)
    for at, value in changes:
        content[at] = value
    try:
        made = make_text_graph(read_graph_def(bytes(content), "damaged.pb"))
    except ModelFileError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(made, MadeTextGraph)


def test_the_reference_graphs_are_read_whole(shared: Path) -> None:
    for name, count in (("pedestrian_ssdlite", 2790), ("faster_rcnn_tiny", 7320), ("mask_rcnn_tiny", 7485)):
        path = shared / "data" / "reference" / f"{name}.pb"
        assert len(read_graph_def(np.fromfile(path, np.uint8), name).nodes) == count
