"""A model of your own, with its class names and thresholds.

python examples/own_model.py best.onnx my.names photo.jpg
"""

import sys

import cvdetect


def main(model: str, names: str, photo: str) -> None:
    try:
        detector = cvdetect.Detector.load(model, names=names, conf=0.4, nms=0.5, max_det=50)
    except cvdetect.CvdetectError as error:  # one or two lines: what is wrong, in which file, and what to do
        sys.exit(f"the model cannot be loaded: {error}")
    print("classes:", ", ".join(detector.labels.names.values()))
    found = detector.detect(photo)
    sure = found[found.score > 0.6]  # indexed like an array
    for d in sure:
        print(d.label, round(d.score, 2))
    print(f"{len(sure)} of {len(found)} score above 0.6")


if __name__ == "__main__":
    main(*sys.argv[1:])
