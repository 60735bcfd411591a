"""Detections in supervision, for its zones, annotators and metrics. Needs supervision.

python examples/to_supervision.py photo.jpg [MODEL]
"""

import sys

import numpy as np
import supervision as sv

import cvdetect


def main(photo: str, model: str | None = None) -> None:
    image = cvdetect.read_image(photo)
    found = cvdetect.Detector.load(model, conf=0.4).detect(image).to_supervision()
    height, width = image.shape[:2]
    left = sv.PolygonZone(np.array([[0, 0], [width // 2, 0], [width // 2, height], [0, height]]))
    inside = found[left.trigger(found)]
    print("in the left half:", ", ".join(sorted(inside["class_name"])) or "nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
