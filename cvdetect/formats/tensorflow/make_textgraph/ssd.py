"""Text graphs of one-stage detectors: SSD, SSDLite, PPN (one head for all feature maps), FPN (RetinaNet)."""

from __future__ import annotations

from collections.abc import Sequence

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Message
from cvdetect.formats.tensorflow.graphdef import Graph
from cvdetect.formats.tensorflow.make_textgraph import facts
from cvdetect.formats.tensorflow.make_textgraph.anchors import (
    AnchorGrid,
    GridError,
    fit_grids,
    multiscale_sizes,
    ssd_sizes,
)
from cvdetect.formats.tensorflow.make_textgraph.heads import Heads, Scores, anchors_of, anchors_per_cell, follow_scores
from cvdetect.formats.tensorflow.make_textgraph.layers import trace_layers
from cvdetect.formats.tensorflow.make_textgraph.nodes import (
    concat,
    constant,
    convert_scores,
    flatten,
    make,
    network,
    placeholder,
    reshape,
)
from cvdetect.formats.tensorflow.make_textgraph.pipeline import MultiscaleAnchors, Nms, SsdAnchors
from cvdetect.formats.tensorflow.make_textgraph.reconcile import Reconciler, TextGraphOptions
from cvdetect.formats.tensorflow.make_textgraph.shapes import infer_shapes

__all__ = ["make_ssd"]

FeatureMap = tuple[int, int, int]  # rows, columns, anchors of a cell
# OpenCV cuts a class to its best boxes before the suppression, TensorFlow after it: with the same number, OpenCV would
# give fewer detections. All boxes of a class would be slow at low thresholds.
_BEFORE_NMS = 10


def make_ssd(graph: Graph, heads: Heads, options: TextGraphOptions, reconciler: Reconciler) -> list[Message]:
    """The nodes of the text graph.

    Raises:
        ModelFileError: see `make_text_graph`.
    """
    config = options.pipeline
    wh = reconciler.settle(
        "input size", facts.fixed_wh(graph), config.wh if config else None, ("input_wh", options.input_wh)
    )
    image = facts.image_input(graph).name
    layers = trace_layers(graph, (*heads.boxes, *heads.classes), image)
    shapes = infer_shapes(graph, layers, wh)
    maps = _feature_maps(graph, heads, shapes)
    grids = _grids(graph, maps, shapes, wh, options, reconciler)
    coders = facts.box_coders(graph)
    scales = reconciler.settle(
        "box coder scales (y x h w)", coders[0] if coders else None, config.box_scales if config else None,
        ("box_scales", options.box_scales),
    )  # fmt: skip
    scores = follow_scores(graph, heads.classes[0])
    outputs = facts.channels(graph, heads.classes[0]) // maps[0][2]
    background = _background(graph, scores, outputs, options, reconciler)
    return [
        placeholder(image, wh),
        *(constant(name, values) for name, values in layers.constants.items()),
        *network(layers.nodes, _box_codes(graph, heads)),
        *_codes(heads),
        *_priors(image, heads, grids, scales),
        *_scores(heads, outputs, scores, options, reconciler),
        _detections(outputs, background, _nms(graph, options, reconciler)),
    ]


def _feature_maps(graph: Graph, heads: Heads, shapes: dict[str, tuple[int, ...]]) -> list[FeatureMap]:
    maps = []
    for name in heads.boxes:
        if name not in shapes:
            raise ModelFileError(f"{graph.name}: the size of the feature map at {name} cannot be inferred")
        maps.append((shapes[name][1], shapes[name][2], anchors_per_cell(graph, name)))
    return maps


def _grids(
    graph: Graph,
    maps: Sequence[FeatureMap],
    shapes: dict[str, tuple[int, ...]],
    wh: tuple[int, int],
    options: TextGraphOptions,
    reconciler: Reconciler,
) -> list[AnchorGrid]:
    """One grid of anchors for each layer: from the graph's own arithmetic, pipeline.config or the options."""
    try:
        found = anchors_of(graph, shapes)
        computed = fit_grids(found.boxes, maps, wh) if found else None
        configured = _configured(options.pipeline.anchors, wh) if options.pipeline else None
    except GridError as error:
        raise ModelFileError(f"{graph.name}: OpenCV cannot lay out these anchors: {error}") from error
    given = _given(maps, options, wh, graph.name)
    grids = []
    for index, (_, _, count) in enumerate(maps):
        stated = [_at(each, index, len(maps), graph.name) for each in (computed, configured, given)]
        own, config, option = (each.sizes if each else None for each in stated)
        arguments = "anchor_scales aspect_ratios"
        sizes = reconciler.settle(f"anchor sizes of layer {index + 1}", own, config, (arguments, option))
        if len(sizes) != count:
            raise ModelFileError(
                f"{graph.name}: layer {index + 1} has {count} anchors a cell, not {len(sizes)}: these anchors are "
                "not of this model"
            )
        grids.append(next(each for each in stated if each))
    return grids


def _at(grids: list[AnchorGrid] | None, index: int, count: int, name: str) -> AnchorGrid | None:
    if grids is not None and len(grids) != count:
        raise ModelFileError(f"{name}: anchors are given for {len(grids)} layers, but the graph has {count}")
    return grids[index] if grids is not None else None


def _configured(anchors: object, wh: tuple[int, int]) -> list[AnchorGrid] | None:
    if isinstance(anchors, SsdAnchors):
        return [AnchorGrid(sizes) for sizes in ssd_sizes(anchors, wh)]
    if not isinstance(anchors, MultiscaleAnchors):
        return None
    levels = range(anchors.min_level, anchors.max_level + 1)
    return [_level(sizes, 2**level, wh) for sizes, level in zip(multiscale_sizes(anchors), levels, strict=True)]


def _level(sizes: tuple[tuple[float, float], ...], stride: int, wh: tuple[int, int]) -> AnchorGrid:
    """The API centres anchors in their cells only where the stride divides the side."""
    middle = {side % stride == 0 for side in wh}
    if len(middle) > 1:
        raise GridError(f"the stride {stride} divides only one side of {wh[0]}x{wh[1]}")
    return AnchorGrid(sizes) if True in middle else AnchorGrid(sizes, float(stride), 0.0)


def _given(
    maps: Sequence[FeatureMap], options: TextGraphOptions, wh: tuple[int, int], name: str
) -> list[AnchorGrid] | None:
    if not options.anchor_scales or not options.aspect_ratios:
        return None
    if len(options.anchor_scales) != len(maps):
        raise ModelFileError(
            f"{name}: {arg('anchor_scales')} gives {len(options.anchor_scales)} scales, but the graph has "
            f"{len(maps)} layers"
        )
    ratios = len(options.aspect_ratios)
    interpolated = 1.0 if maps[-1][2] == ratios + 1 else 0.0
    reduced = maps[0][2] != maps[-1][2]
    anchors = SsdAnchors(options.anchor_scales, options.aspect_ratios, interpolated, reduced)
    return [AnchorGrid(sizes) for sizes in ssd_sizes(anchors, wh)]


def _background(graph: Graph, scores: Scores, outputs: int, options: TextGraphOptions, reconciler: Reconciler) -> bool:
    """Whether class 0 is the background, by the graph, else by the number of classes."""
    known = None if scores.background is None else outputs - scores.background
    config = options.pipeline.num_classes if options.pipeline else None
    classes = reconciler.settle("number of classes", known, config, ("num_classes", options.num_classes))
    if outputs - classes not in (0, 1):
        raise ModelFileError(
            f"{graph.name}: {classes} classes do not fit its class predictors, which have {outputs} scores an anchor"
        )
    return outputs > classes


def _nms(graph: Graph, options: TextGraphOptions, reconciler: Reconciler) -> Nms:
    found = facts.find_nms(graph)
    own = found[-1] if found else None
    config = options.pipeline.last if options.pipeline else None
    return reconciler.nms("", own, config, options.iou_threshold)


def _box_codes(graph: Graph, heads: Heads) -> set[str]:
    """The convolutions that give box codes, also where they have no bias."""
    below = {facts.walk_back(graph, graph.nodes[name].data[0]) for name in heads.boxes}
    return below | {name for name in heads.boxes if graph.nodes[name].op == "Conv2D"}


def _codes(heads: Heads) -> list[Message]:
    names = [f"{name}/Flatten" for name in heads.boxes]
    flat = [flatten(name, source) for name, source in zip(names, heads.boxes, strict=True)]
    return [*flat, *concat("box_codes", names)]


def _priors(
    image: str, heads: Heads, grids: Sequence[AnchorGrid], scales: tuple[float, float, float, float]
) -> list[Message]:
    names = [f"anchors_{index}" for index in range(len(grids))]
    y, x, height, width = scales
    variance = [1 / x, 1 / y, 1 / width, 1 / height]
    made = []
    for name, source, grid in zip(names, heads.boxes, grids, strict=True):
        placed = {} if grid.step is None else {"step": grid.step, "offset": grid.offset}
        sizes = {"width": [size[0] for size in grid.sizes], "height": [size[1] for size in grid.sizes]}
        made.append(
            make(name, "PriorBox", [source, image], flip=False, clip=False, variance=variance, **sizes, **placed)
        )
    return [*made, *concat("anchors", names)]


def _scores(
    heads: Heads, outputs: int, scores: Scores, options: TextGraphOptions, reconciler: Reconciler
) -> list[Message]:
    config = options.pipeline.score_converter if options.pipeline else None
    converter = reconciler.settle(
        "score converter", scores.converter, config, ("score_converter", options.score_converter)
    )
    names = [f"{name}/Flatten" for name in heads.classes]
    made = [flatten(name, source) for name, source in zip(names, heads.classes, strict=True)]
    made += [*concat("class_logits", names), *reshape("class_logits/3d", "class_logits", [0, -1, outputs])]
    made += convert_scores("class_scores/3d", "class_logits/3d", converter, scores.scale)
    return [*made, flatten("class_scores", "class_scores/3d")]


def _detections(outputs: int, background: bool, last: Nms) -> Message:
    return make(
        "detection_out", "DetectionOutput", ["box_codes", "class_scores", "anchors"],
        num_classes=outputs, background_label_id=0 if background else outputs, share_location=True,
        code_type="CENTER_SIZE", nms_threshold=last.iou, confidence_threshold=last.score,
        top_k=_BEFORE_NMS * last.per_class, keep_top_k=last.total,
    )  # fmt: skip
