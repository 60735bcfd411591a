"""Where OpenCV runs each layer of a network."""

from __future__ import annotations

import re

from cvdetect.runtime import Network

# A node in Net.dump(), a graph in the dot language: its first layer's type, and at its end backend and target.
_NODE = re.compile(r'label="\{?[^\\"]*\\n(\w+)\\n.*?\\l(\w+/\w+)\\n')


def layer_places(network: Network) -> list[tuple[str, str]]:
    """Type and place ("OCV/CPU", "CUDA/CUDA_FP16", …) of each layer that runs by itself, after a first forward.

    Another backend hands layers that it lacks to OpenCV's own code on the CPU, "OCV/…"; fused layers go with the
    first of them.
    """
    return _NODE.findall(network._net.dump())
