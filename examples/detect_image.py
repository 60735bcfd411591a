"""What is in an image, line by line.

python examples/detect_image.py photo.jpg [MODEL]
"""

import sys

import cvdetect


def main(photo: str, model: str | None = None) -> None:
    detector = cvdetect.Detector.load(model)  # None: the default model, downloaded at first use
    found = detector.detect(photo)
    for d in found:
        x1, y1, x2, y2 = d.xyxy  # pixels from the top left corner
        print(f"{d.label} {d.score:.2f} at {x1:.0f},{y1:.0f} to {x2:.0f},{y2:.0f}")
    print(f"{len(found)} objects by {detector.name} on {detector.ran}")


if __name__ == "__main__":
    main(*sys.argv[1:])
