"""Boxes and labels on a copy of an image, with thin lines and the upper fifth of each person blurred.

python examples/draw_boxes.py photo.jpg out.jpg [MODEL]
"""

import sys

import cv2

import cvdetect


def main(photo: str, out: str, model: str | None = None) -> None:
    image = cvdetect.read_image(photo)  # uint8 (H, W, 3), BGR, upright
    found = cvdetect.Detector.load(model, conf=0.4).detect(image)
    for d in found:
        if d.label == "person":
            x1, y1, x2, y2 = (round(v) for v in d.xyxy)
            top = y1 + (y2 - y1) // 5
            image[y1:top, x1:x2] = cv2.blur(image[y1:top, x1:x2], (31, 31))
    drawn = cvdetect.draw(image, found, style=cvdetect.DrawStyle(line_width=1))
    cv2.imwrite(out, drawn)
    print(f"{len(found)} objects drawn into {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
