"""How many different objects of each class a video shows, each counted once.

python examples/count_objects.py in.mp4 [MODEL]
"""

import sys
from collections import defaultdict

import cvdetect


def main(video: str, model: str | None = None) -> None:
    detector = cvdetect.Detector.load(model, conf=0.4)
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for frame, found in cvdetect.detect_frames(video, detector, track=True):
        for d in found:
            if d.track_id is not None and not frame.skipped:
                numbers[d.label].add(d.track_id)
    for label, seen in sorted(numbers.items()):
        print(f"{label}: {len(seen)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
