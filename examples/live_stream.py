"""A camera or a network stream: always the newest frame, for a number of frames.

python examples/live_stream.py 0                      # the first camera
python examples/live_stream.py rtsp://camera/stream [MODEL [FRAMES]]
"""

import sys
import time

import cvdetect


def main(source: str, model: str | None = None, frames: str = "100") -> None:
    detector = cvdetect.Detector.load(model, conf=0.4)
    begin = time.perf_counter()
    seen = 0
    for frame, found in cvdetect.detect_frames(int(source) if source.isdecimal() else source, detector):
        seen += 1
        print(f"{frame.time_s or 0:.2f} s:", ", ".join(d.label for d in found) or "nothing")
        if seen == int(frames):
            break  # closes the camera
    print(f"{seen / (time.perf_counter() - begin):.1f} frames a second")


if __name__ == "__main__":
    main(*sys.argv[1:])
