"""What --tile gains and costs: AP50 and time on mosaics of annotated images, with and without tiles.

python benchmarks/tiling.py --data FOLDER --cfg F --weights F      FOLDER has images/ and instances.json (COCO)

Each mosaic is 4 x 4 images, each shrunk to 320x240: objects are small and the mosaic is 1280x960.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from pathlib import Path

import cv2
import numpy as np

from cvdetect import DetectOptions, Detector, ModelChoice, read_image

GRID, CELL = 4, (320, 240)


def mosaics(data: Path) -> tuple[list[np.ndarray], dict[str, object]]:
    """Mosaic images and their ground truth as COCO."""
    truth = json.loads((data / "instances.json").read_text())
    pictures, images, annotations = [], [], []
    rows = truth["images"][: len(truth["images"]) // GRID**2 * GRID**2]
    for number in range(len(rows) // GRID**2):
        canvas = np.zeros((CELL[1] * GRID, CELL[0] * GRID, 3), np.uint8)
        for place, row in enumerate(rows[number * GRID**2 : (number + 1) * GRID**2]):
            x0, y0 = place % GRID * CELL[0], place // GRID * CELL[1]
            picture = read_image(data / "images" / row["file_name"])
            sx, sy = CELL[0] / picture.shape[1], CELL[1] / picture.shape[0]
            canvas[y0 : y0 + CELL[1], x0 : x0 + CELL[0]] = cv2.resize(picture, CELL, interpolation=cv2.INTER_AREA)
            for a in (a for a in truth["annotations"] if a["image_id"] == row["id"]):
                x, y, w, h = a["bbox"]
                box = [x0 + x * sx, y0 + y * sy, w * sx, h * sy]
                annotations.append(
                    {**a, "id": len(annotations) + 1, "image_id": number + 1, "bbox": box, "area": a["area"] * sx * sy}
                )
        pictures.append(canvas)
        images.append({"id": number + 1, "width": canvas.shape[1], "height": canvas.shape[0]})
    return pictures, {"images": images, "annotations": annotations, "categories": truth["categories"]}


def ap50(detector: Detector, pictures: list[np.ndarray], truth: dict[str, object]) -> tuple[float, float, float]:
    """AP, AP50 and seconds an image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results, begin = [], time.perf_counter()
    for number, picture in enumerate(pictures, start=1):
        found = detector.detect(picture)
        for (x1, y1, x2, y2), class_id, score in zip(found.xyxy.tolist(), found.class_id, found.score, strict=True):
            category = detector.labels.category_id(int(class_id))
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": number, "category_id": category, "bbox": box, "score": float(score)})
    seconds = (time.perf_counter() - begin) / len(pictures)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, 300]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class)
    known = precision > -1
    return float(precision[known].mean()), float(precision[0][known[0]].mean()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cfg", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    given = parser.parse_args()
    pictures, truth = mosaics(given.data)
    print(f"{len(pictures)} mosaics of {GRID}x{GRID} images, {given.cfg.stem}")
    for tile in (None, "2x2", "auto", "6x4"):
        options = DetectOptions(conf=0.01, nms=0.45, tile=tile)
        detector = Detector.load(ModelChoice(cfg=given.cfg, weights=given.weights), options)
        ap, ap_50, seconds = ap50(detector, pictures, truth)
        print(f"  --tile {tile or 'off':5}  AP {ap:.3f}  AP50 {ap_50:.3f}  {seconds * 1e3:6.0f} ms an image")


if __name__ == "__main__":
    main()
