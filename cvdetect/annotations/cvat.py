"""CVAT for images 1.1: one XML file, an element an image and a box a detection, pixels from 0 with two decimals.

Format: https://docs.cvat.ai/docs/manual/advanced/xml_format. Each box has its score as an attribute.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from cvdetect.annotations.types import AnnotationFormat, ExportInfo, ImageRecord, Records
from cvdetect.annotations.writing import Classes, escape_xml, fixed, spool
from cvdetect.core.labels import LabelSet

__all__ = ["CVAT"]

_SCORE = (
    "<attributes><attribute><name>score</name><mutable>False</mutable><input_type>text</input_type>"
    "<default_value></default_value><values></values></attribute></attributes>"
)


def write_cvat(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``annotations.xml`` into `out`, in one pass over the records.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    classes = Classes(labels)
    count = 0
    with info.file(out / "annotations.xml") as stream, spool(out) as images:
        for record in records:
            images.writelines(line + "\n" for line in _image(count, record, labels, classes))
            count += 1
        stream.writelines(line + "\n" for line in _head(count, info.model, classes.names()))
        images.seek(0)
        shutil.copyfileobj(images, stream)
        stream.write("</annotations>\n")


def _head(images: int, model: str, names: list[str]) -> Iterator[str]:
    """The labels stand before the images, so they are written when all images are known."""
    yield '<?xml version="1.0"?>'  # without the encoding, which is XML's own: some parsers refuse it in text
    yield "<annotations>"
    yield "  <version>1.1</version>"
    yield f"  <meta><task><name>{escape_xml(model)}</name><size>{images}</size><mode>annotation</mode><labels>"
    for name in names:
        yield f"    <label><name>{escape_xml(name)}</name>{_SCORE}</label>"
    yield "  </labels></task></meta>"


def _image(number: int, record: ImageRecord, labels: LabelSet, classes: Classes) -> Iterator[str]:
    width, height = record.wh
    yield f'  <image id="{number}" name="{escape_xml(record.name)}" width="{width}" height="{height}">'
    found = record.found
    for box, class_id, score in zip(found.xyxy, found.class_id, found.score, strict=True):
        classes.index(int(class_id))
        sides = " ".join(
            f'{side}="{fixed(float(v), 2)}"' for side, v in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
        )
        label = escape_xml(labels.label(int(class_id)))
        yield f'    <box label="{label}" source="auto" occluded="0" {sides} z_order="0">'
        yield f'      <attribute name="score">{fixed(float(score), 6)}</attribute>'
        yield "    </box>"
    yield "  </image>"


CVAT = AnnotationFormat(name="cvat", write=write_cvat)
