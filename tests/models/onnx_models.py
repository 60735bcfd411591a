"""Small ONNX models that give what a test wants, whatever their input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")


def constant_model(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    shape: tuple[int | str, ...] = (1, 3, 288, 416),
    metadata: Mapping[str, str] | None = None,
    raw: bool = True,
) -> Path:
    """A model whose outputs are a convolution's bias; with `raw` false, multiplied by one on the way."""
    make, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes, weights = [make.make_node("GlobalAveragePool", ["images"], ["mean"])], []
    for i, (name, array) in enumerate(outputs.items()):
        flat = array.astype(np.float32).ravel()
        weights += [
            onnx.numpy_helper.from_array(np.zeros((flat.size, 3, 1, 1), np.float32), f"weight{i}"),
            onnx.numpy_helper.from_array(flat, f"bias{i}"),
            onnx.numpy_helper.from_array(np.array(array.shape, np.int64), f"shape{i}"),
            onnx.numpy_helper.from_array(np.ones(1, np.float32), f"one{i}"),
        ]
        nodes.append(make.make_node("Conv", ["mean", f"weight{i}", f"bias{i}"], [f"conv{i}"]))
        last = f"conv{i}"
        if not raw:
            nodes.append(make.make_node("Mul", [last, f"one{i}"], [f"mul{i}"]))
            last = f"mul{i}"
        nodes.append(make.make_node("Reshape", [last, f"shape{i}"], [name]))
    graph = make.make_graph(
        nodes,
        "constant",
        [make.make_tensor_value_info("images", float32, shape)],
        [make.make_tensor_value_info(name, float32, array.shape) for name, array in outputs.items()],
        weights,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path
