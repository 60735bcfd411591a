"""``cvdetect textgraph``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_FILE, PATH
from cvdetect.cli.parsing import parse_numbers, parse_size
from cvdetect.core.errors import UsageError
from cvdetect.core.printable import printable

__all__ = ["command"]

_BOX_SCALES = 4
_MISSING = "Only for a graph that does not state it."


@click.command("textgraph", short_help="Make OpenCV's text graph of a TensorFlow detection graph.")
@click.argument("graph", type=PATH, metavar="GRAPH.pb")
@click.option(
    "-o",
    "--out",
    type=OUT_FILE,
    help="The file to write; - is standard output.  [default: the graph's name with .pbtxt, in this folder]",
)
@click.option("--pipeline", type=PATH, help="The pipeline.config that came with the graph; it is checked against it.")
@click.option("--num-classes", type=click.IntRange(min=1), help=f"Number of classes without the background. {_MISSING}")
@click.option("--input-size", metavar="N|WxH", help="Input size in pixels. Faster and Mask R-CNN take any.")
@click.option(
    "--anchor-scales",
    metavar="A,B,…",
    help="SSD: one per layer, as a fraction of the input size; Faster and Mask R-CNN: factors of 256 pixels.",
)
@click.option("--aspect-ratios", metavar="A,B,…", help="Aspect ratios of anchors, width / height.")
@click.option("--anchor-stride", type=click.IntRange(min=1), help="Pixels between anchors of a Faster or Mask R-CNN.")
@click.option("--box-scales", metavar="Y,X,H,W", help="The box coder's scales, e.g. 10,10,5,5.")
@click.option(
    "--score-converter",
    type=click.Choice(["SIGMOID", "SOFTMAX", "IDENTITY"], case_sensitive=False),
    help="The function that turns the class predictor's output into scores.",
)
@click.option(
    "--iou-threshold", type=click.FloatRange(0, 1), help="IoU threshold of the graph's own non-maximum suppression."
)
@click.pass_obj
def command(
    settings: Settings,
    /,
    graph: Path,
    out: str | None,
    pipeline: Path | None,
    num_classes: int | None,
    input_size: str | None,
    anchor_scales: str | None,
    aspect_ratios: str | None,
    anchor_stride: int | None,
    box_scales: str | None,
    score_converter: str | None,
    iou_threshold: float | None,
) -> int:
    """Make the text graph (.pbtxt) that OpenCV needs to run a frozen graph of TensorFlow 1's Object Detection API.

    Works for SSD, SSDLite, PPN, FPN, Faster R-CNN and Mask R-CNN; TensorFlow is not needed. The graph nearly always
    states everything; options supply the rest. Does not work for R-FCN (OpenCV runs Caffe's, not TensorFlow's),
    EfficientDet (needs a text graph of its own) and TensorFlow 2 graphs.

    \b
    cvdetect textgraph frozen_inference_graph.pb -o graph.pbtxt
    cvdetect textgraph frozen_inference_graph.pb --pipeline pipeline.config
    """
    scales = parse_numbers(box_scales, "--box-scales")
    if scales and len(scales) != _BOX_SCALES:
        raise UsageError(f"--box-scales {box_scales}: expected four numbers: y, x, height, width")
    wh = parse_size(input_size, "--input-size") if input_size else None
    anchors = parse_numbers(anchor_scales, "--anchor-scales"), parse_numbers(aspect_ratios, "--aspect-ratios")

    from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions
    from cvdetect.jobs.textgraph import TextGraphJob, write_text_graph

    options = TextGraphOptions(
        num_classes=num_classes,
        input_wh=wh,
        anchor_scales=anchors[0],
        aspect_ratios=anchors[1],
        anchor_stride=anchor_stride,
        box_scales=(scales[0], scales[1], scales[2], scales[3]) if scales else None,
        score_converter=score_converter.upper() if score_converter else None,
        iou_threshold=iou_threshold,
    )
    job = TextGraphJob(graph=graph, out=out, pipeline=pipeline, options=options)
    progress = settings.progress()
    report = write_text_graph(job, progress)
    if out == "-":
        progress.note(report.kind)
    else:
        click.echo(printable(f"{report.kind} → {report.out}"), file=sys.stdout)
    return report.exit_code
