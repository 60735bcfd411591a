"""The activation of a Darknet layer, as OpenCV is to run it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from cvdetect.formats.darknet.text import SectionReader

__all__ = ["ACTIVATIONS", "activation"]

# Those that OpenCV's Darknet importer has, tried one by one on OpenCV 4.14.
ACTIVATIONS = ("linear", "leaky", "relu", "swish", "mish", "logistic", "tanh")
# Those that only Darknet has (activations.c).
_ONLY_DARKNET = frozenset(
    "hard_mish normalize_channels normalize_channels_softmax normalize_channels_softmax_maxval loggy relu6 elu selu "
    "gelu relie plse hardtan lhtan ramp revleaky stair".split()
)
_OTHER_NAMES: Mapping[str, str] = MappingProxyType({"silu": "swish", "sigmoid": "logistic", "none": "linear"})


def activation(reader: SectionReader, default: str) -> str:
    """The layer's activation; raises ModelFileError where Darknet or OpenCV does not have it."""
    name = reader.text("activation", default)
    if name in ACTIVATIONS:
        return name
    if name in _ONLY_DARKNET:
        reader.fail(f"activation={name}: OpenCV has only {', '.join(ACTIVATIONS)}", "activation")
    word = name.partition("#")[0].partition(";")[0]
    if word != name:
        reader.fail(
            f"activation={name}: a comment follows the activation, which Darknet cannot read (it would take relu); "
            "put it on a line of its own",
            "activation",
        )
    reader.fail(f"activation={name}: Darknet does not know it and would take relu; {_hint(name)}", "activation")


def _hint(name: str) -> str:
    known = {name.lower(): name for name in (*ACTIVATIONS, *_ONLY_DARKNET)}
    other = _OTHER_NAMES.get(name.lower())
    if other:
        return f"its name in Darknet is {other}"
    near = difflib.get_close_matches(name.lower(), known, 1)
    return f"did you mean {known[near[0]]}?" if near else f"OpenCV has {', '.join(ACTIVATIONS)}"
