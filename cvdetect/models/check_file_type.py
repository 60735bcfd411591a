"""Recognises a model file that was given as another kind, by its first bytes, and names the argument that takes it."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.spec import Role
from cvdetect.core.targets import check_regular

__all__ = ["check_format", "check_formats", "refuse_darknet_data", "unread_format"]

K = TypeVar("K")

_HEAD = 4096  # a text may begin with a long comment
_FOREIGN = {
    "torch7": "a Torch7 model, which is not supported: use a release of it in ONNX or Caffe",
    "pytorch": "a PyTorch checkpoint, which OpenCV cannot read: export it to ONNX, give {onnx}",
    "keras": "a Keras HDF5 model, which OpenCV cannot read: export it to ONNX, give {onnx}",
}
_NAMES: Mapping[Role, str] = {
    "cfg": "a Darknet cfg",
    "weights": "Darknet weights",
    "graph": "a TensorFlow frozen graph",
    "config": "a TensorFlow text graph",
    "onnx": "an ONNX model",
    "prototxt": "a Caffe prototxt",
    "caffemodel": "a caffemodel",
    "tflite": "a TensorFlow Lite model",
    "names": "a label file",
}


def unread_format(name: str) -> str:
    """What a file of another program is, and what to do with it."""
    return _FOREIGN[name].format(onnx=arg("onnx"))


def check_formats(files: Mapping[Role, Path], from_options: bool) -> None:
    """`check_format` for each file of a model."""
    for role, path in files.items():
        check_format(role, path, from_options)


def check_format(role: Role, path: Path, from_options: bool = True) -> None:
    """Refuse a file that is a model file of another kind; what is not known, or not there, is left to its reader.

    Args:
        role: what the file was given as.
        from_options: it was named by an option, not by models.yaml.

    Raises:
        ModelFileError: the file is another kind; the message names the kind and the argument for it.
        UsageError: it is a pipe, a socket or a device.
    """
    check_regular(path, "a model file")
    head = _head(path) if role in _NAMES else b""
    if unread := _first(_UNREAD, head):
        raise ModelFileError(f"{path}: is {unread_format(unread)}")
    found = _first(_KINDS, head)
    what = _NAMES.get(found) if found else None
    labels = {} if role == "names" else {what: _LABELS[what] for what in _LABELS if role != "config" or what == _DATA}
    if found is None and (what := _first(labels, head)):  # of label maps as a text graph: see `read_graph`
        found = "names"
    if found is None or found == role:
        return
    where = f"give it as {arg(found)}" if from_options else f"models.yaml has to name it as {found}"
    raise ModelFileError(f"{path}: is {what}, expected {_NAMES[role]}: {where}")


def refuse_darknet_data(name: str) -> None:
    """Raise UsageError where what was given as the name of a model is a .data file."""
    path = Path(name)
    if path.suffix.lower() == ".data" and path.is_file() and _is_data(_head(path)):
        raise UsageError(
            f"{name}: is a Darknet .data file, no model: give it as {arg('names')}, and the model as {arg('cfg')}"
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:  # its reader reports why
        return b""


def _first(tests: Mapping[K, Callable[[bytes], bool]], head: bytes) -> K | None:
    return next((kind for kind, fits in tests.items() if fits(head)), None)


def _is_weights(head: bytes) -> bool:
    """Darknet's parser.c: version 0.1 or 0.2 as three int32, then the images seen."""
    return len(head) >= 16 and struct.unpack("<3i", head[:12]) in {(0, minor, n) for minor in (1, 2) for n in range(6)}


def _is_onnx(head: bytes) -> bool:
    """onnx.proto, ModelProto: ir_version, a small number, is field 1; fields 2 to 8 follow."""
    return len(head) > 3 and head[0] == 0x08 and 1 <= head[1] <= 20 and head[2] in range(0x12, 0x43, 8)


def _is_graph(head: bytes) -> bool:
    """graph.proto: nodes are field 1, each begins with its name (1) and its kind (2), such as Placeholder."""
    return re.match(rb"\n.{1,3}?\n.[\w./-]+\x12.[A-Z]\w+", head, re.DOTALL) is not None


def _is_caffemodel(head: bytes) -> bool:
    """caffe.proto, NetParameter: the name is field 1, perhaps empty; then layers, field 100 (2 in old files)."""
    if len(head) < 4 or head[0] != 0x0A or head[1] > 127:
        return False
    return head[2 + head[1] :].startswith(b"\xa2\x06")


def _is_data(head: bytes) -> bool:
    from cvdetect.formats.label_files.darknet_data import is_darknet_data

    return is_darknet_data(head.decode("utf-8", "replace"))


def _begins(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a text begins so, after comments and blank lines."""
    compiled = re.compile(rb"(?:\xef\xbb\xbf)?(?:[#;][^\n]*\n|\s)*" + pattern)
    return lambda head: compiled.match(head) is not None


_KINDS: Mapping[Role, Callable[[bytes], bool]] = {
    "cfg": _begins(rb"\[(net|network|convolutional)\]"),
    "config": _begins(rb"node\s*:?\s*\{"),
    "prototxt": _begins(rb"(name\s*:\s*[\"'][^\n]*\n\s*)?(input|input_shape|input_dim|layers?)\s*[:{]"),
    "tflite": lambda head: head[4:8] == b"TFL3",
    "weights": _is_weights,
    "onnx": _is_onnx,
    "caffemodel": _is_caffemodel,
    "graph": _is_graph,
}
_DATA = "a Darknet .data file"
_LABELS: Mapping[str, Callable[[bytes], bool]] = {
    _DATA: _is_data,
    "a label map": _begins(rb"item\s*:?\s*\{"),
    "a data.yaml with class names": lambda head: (
        b"\0" not in head and re.search(rb"^(names|nc)[ \t]*:", head, re.MULTILINE) is not None
    ),
}
_UNREAD: Mapping[str, Callable[[bytes], bool]] = {
    "torch7": lambda head: head[:4] == b"\x04\0\0\0" and b"V 1" in head[8:24],
    "pytorch": lambda head: head[:4] == b"PK\x03\x04" and b"/data.pkl" in head[:256],
    "keras": lambda head: head[:8] == b"\x89HDF\r\n\x1a\n",
}
