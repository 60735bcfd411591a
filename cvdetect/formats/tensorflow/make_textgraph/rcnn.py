"""Text graphs of two-stage detectors: Faster R-CNN and Mask R-CNN."""

from __future__ import annotations

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.prototext import Message
from cvdetect.formats.tensorflow.graphdef import Graph
from cvdetect.formats.tensorflow.make_textgraph import facts
from cvdetect.formats.tensorflow.make_textgraph.anchors import AnchorGrid, GridError, fit_grids, grid_sizes
from cvdetect.formats.tensorflow.make_textgraph.heads import (
    Heads,
    anchors_of,
    anchors_per_cell,
    find_predictor,
    follow_scores,
)
from cvdetect.formats.tensorflow.make_textgraph.layers import trace_layers
from cvdetect.formats.tensorflow.make_textgraph.nodes import (
    OWN,
    constant,
    convert_scores,
    flatten,
    make,
    network,
    placeholder,
    reshape,
    slice_from,
)
from cvdetect.formats.tensorflow.make_textgraph.pipeline import GridAnchors, Nms
from cvdetect.formats.tensorflow.make_textgraph.reconcile import Reconciler, TextGraphOptions
from cvdetect.formats.tensorflow.make_textgraph.shapes import infer_shapes

__all__ = ["make_rcnn"]

_TRIED_WH = (512, 384)  # anchors are the same at every size; they are computed at this one
_MOST_ANCHORS = 6000  # of the best scores that go into suppression; TensorFlow takes all, but the rest never counts
_MASK_PATH = ("Reshape", "GatherV2", "Gather", "Sigmoid", "Squeeze", "ExpandDims", "Transpose")


def make_rcnn(graph: Graph, options: TextGraphOptions, reconciler: Reconciler) -> list[Message]:
    """The nodes of the text graph.

    Raises:
        ModelFileError: see `make_text_graph`.
    """
    first = Heads((find_predictor(graph, "FirstStage", "Box"),), (find_predictor(graph, "FirstStage", "Class"),))
    second = Heads((find_predictor(graph, "SecondStage", "Box"),), (find_predictor(graph, "SecondStage", "Class"),))
    masks = (facts.walk_back(graph, "detection_masks", *_MASK_PATH),) if "detection_masks" in graph.nodes else ()
    image = facts.image_input(graph).name
    crops = [node.name for node in graph.nodes.values() if node.op == "CropAndResize"][: 1 + len(masks)]
    boxes = dict(zip(crops, ("proposals/clipped", "detection_out_final/clipped"), strict=False))
    heads = (*first.boxes, *first.classes, *second.boxes, *second.classes, *masks)
    layers = trace_layers(graph, heads, image, boxes)
    shapes = infer_shapes(graph, layers, _TRIED_WH)
    box_codes = {facts.walk_back(graph, graph.nodes[name].data[0]) for name in (*first.boxes, *second.boxes)}
    return [
        placeholder(image, options.input_wh),
        *(constant(name, values) for name, values in layers.constants.items()),
        *network(layers.nodes, box_codes),
        *_clipping_bounds(),
        *_proposals(graph, image, first, shapes, options, reconciler),
        *_detections(graph, second, bool(masks), options, reconciler),
        *_masks(masks),
    ]


def _clipping_bounds() -> list[Message]:
    return [constant(f"{OWN}zero", [0.0]), constant(f"{OWN}one", [1.0])]


def _clipped(name: str) -> Message:
    """Boxes clipped to the image after their suppression, as in TensorFlow."""
    return make(f"{name}/clipped", "ClipByValue", [name, f"{OWN}zero", f"{OWN}one"])


def _proposals(
    graph: Graph,
    image: str,
    heads: Heads,
    shapes: dict[str, tuple[int, ...]],
    options: TextGraphOptions,
    reconciler: Reconciler,
) -> list[Message]:
    (boxes,), (classes,) = heads.boxes, heads.classes
    grid, clipped = _grid(graph, boxes, shapes, options, reconciler)
    found = facts.find_nms(graph)
    config = options.pipeline.first if options.pipeline else None
    # The user's IoU threshold is for the detections; the graph's own acts on the proposals.
    kept = reconciler.nms("proposals: ", found[0] if len(found) > 1 else None, config, None)
    coders = facts.box_coders(graph)
    y, x, height, width = _box_scales("proposals", coders[0] if coders else None, options, reconciler)
    return [
        *reshape("proposals/logits", classes, [0, -1, 2]),
        make("proposals/scores_2d", "Softmax", ["proposals/logits"], axis=-1),
        flatten("proposals/scores", "proposals/scores_2d"),
        flatten("proposals/codes", boxes),
        make(
            "proposals/anchors", "PriorBox", [boxes, image], flip=False, clip=clipped, step=grid.step,
            offset=grid.offset, variance=[1 / x, 1 / y, 1 / width, 1 / height],
            width=[size[0] for size in grid.sizes], height=[size[1] for size in grid.sizes],
        ),
        make(
            "proposals", "DetectionOutput", ["proposals/codes", "proposals/scores", "proposals/anchors"],
            num_classes=2, background_label_id=0, share_location=True, code_type="CENTER_SIZE", clip=False,
            confidence_threshold=kept.score, nms_threshold=kept.iou, top_k=_MOST_ANCHORS, keep_top_k=kept.total,
        ),
        _clipped("proposals"),
    ]  # fmt: skip


def _grid(
    graph: Graph, boxes: str, shapes: dict[str, tuple[int, ...]], options: TextGraphOptions, reconciler: Reconciler
) -> tuple[AnchorGrid, bool]:
    """The grid of anchors, and whether they are clipped to the image before they are decoded."""
    each = anchors_per_cell(graph, boxes)
    computed, clipped = None, True
    found = anchors_of(graph, shapes) if boxes in shapes else None
    if found:
        clipped = found.clipped
        try:
            rows, columns = shapes[boxes][1:3]
            (computed,) = fit_grids(found.boxes, [(rows, columns, each)], _TRIED_WH)
        except GridError as error:
            raise ModelFileError(f"{graph.name}: OpenCV cannot lay out these anchors: {error}") from error
    config = options.pipeline.anchors if options.pipeline else None
    claimed = config if isinstance(config, GridAnchors) else None
    stride = reconciler.settle(
        "anchor stride", _step(computed), float(claimed.stride) if claimed else None,
        ("anchor_stride", float(options.anchor_stride) if options.anchor_stride else None),
    )  # fmt: skip
    given = GridAnchors(options.anchor_scales, options.aspect_ratios)
    sizes = reconciler.settle(
        "anchor sizes", computed.sizes if computed else None, grid_sizes(claimed) if claimed else None,
        ("anchor_scales aspect_ratios", grid_sizes(given)),
    )  # fmt: skip
    if len(sizes) != each:
        raise ModelFileError(f"{graph.name}: its box predictor has {each} anchors a cell, not {len(sizes)}")
    return AnchorGrid(sizes, stride, computed.offset if computed else 0.0), clipped


def _step(grid: AnchorGrid | None) -> float | None:
    return grid.step if grid else None


def _box_scales(
    which: str,
    own: tuple[float, float, float, float] | None,
    options: TextGraphOptions,
    reconciler: Reconciler,
) -> tuple[float, float, float, float]:
    config = options.pipeline.box_scales if options.pipeline else None
    return reconciler.settle(f"box coder scales of {which} (y x h w)", own, config, ("box_scales", options.box_scales))


def _detections(
    graph: Graph, heads: Heads, with_masks: bool, options: TextGraphOptions, reconciler: Reconciler
) -> list[Message]:
    (boxes,), (scores,) = heads.boxes, heads.classes
    config = options.pipeline
    classes = reconciler.settle(
        "number of classes", facts.channels(graph, scores) - 1, config.num_classes if config else None,
        ("num_classes", options.num_classes),
    )  # fmt: skip
    found_scores = follow_scores(graph, scores)
    converter = reconciler.settle(
        "score converter", found_scores.converter, config.score_converter if config else None,
        ("score_converter", options.score_converter),
    )  # fmt: skip
    found, coders = facts.find_nms(graph), facts.box_coders(graph)
    last = reconciler.nms(
        "detections: ", found[-1] if found else None, config.last if config else None, options.iou_threshold
    )
    y, x, height, width = _box_scales("detections", coders[-1] if coders else None, options, reconciler)
    locations = anchors_per_cell(graph, boxes)
    if locations not in (1, classes):
        raise ModelFileError(f"{graph.name}: has boxes for {locations} classes, but scores for {classes}")
    return [
        *reshape("detections/logits", scores, [-1, 1, classes + 1]),
        *convert_scores("detections/all_scores", "detections/logits", converter, found_scores.scale),
        *slice_from("detections/without_background", "detections/all_scores", [0, 0, 1], [-1, -1, -1]),
        *reshape("detections/scores", "detections/without_background", [1, -1]),
        *reshape("detections/codes", boxes, [1, -1, 4]),
        constant(f"{OWN}detections/variance", [1 / x, 1 / y, 1 / width, 1 / height]),
        make("detections/scaled_codes", "Mul", ["detections/codes", f"{OWN}detections/variance"], axis=2),
        flatten("detections/flat_codes", "detections/scaled_codes"),
        # Two dimensions: OpenCV may take four for an image's, and change their order.
        *reshape("detections/rows", "proposals/clipped", [-1, 7]),
        *slice_from("detections/corners", "detections/rows", [0, 3], [-1, 4]),
        *reshape("detections/priors", "detections/corners", [1, 1, -1]),
        _output(classes, locations == 1, last, with_masks),
    ]


def _output(classes: int, shared: bool, last: Nms, with_masks: bool) -> Message:
    """Boxes stay unclipped: TensorFlow clips after the suppression, and so does the decoder.

    The background was cut off, so no class is it. Masks need the detections in the order in which they come out.
    """
    ordered = {"group_by_classes": False} if with_masks else {}
    return make(
        "detection_out_final", "DetectionOutput",
        ["detections/flat_codes", "detections/scores", "detections/priors"],
        num_classes=classes, background_label_id=classes + 1, share_location=shared, code_type="CENTER_SIZE",
        clip=False, variance_encoded_in_target=True, confidence_threshold=last.score, nms_threshold=last.iou,
        keep_top_k=last.total, **ordered,
    )  # fmt: skip


def _masks(heads: tuple[str, ...]) -> list[Message]:
    if not heads:
        return []
    return [_clipped("detection_out_final"), make("detection_masks", "Sigmoid", heads)]
