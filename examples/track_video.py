"""A video with numbered objects: read, detect, track, draw, write.

python examples/track_video.py in.mp4 out.mp4 [MODEL]
"""

import sys

import cvdetect


def main(video: str, out: str, model: str | None = None) -> None:
    detector = cvdetect.Detector.load(model, conf=0.4)
    with (
        cvdetect.open_source(video) as source,
        cvdetect.open_sink(out, detector, source) as sink,  # keeps the video's rate and times
    ):
        frames = 0
        for frame, found in cvdetect.detect_frames(source, detector, track=True, every=2):
            sink.write(frame, found)
            frames += 1
    print(f"{frames} frames written to {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
