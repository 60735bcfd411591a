"""One image from the shell: ``cvdetect image dog.jpg`` against a bare script, each a whole process.

cvdetect finds its model in models.yaml, checks the sizes of its files, checks the cfg, detects, prints a table and
writes the annotated copy. The bare script knows its files, forwards once, and discards the result.
"""

from __future__ import annotations

import timing

from cvdetect import load_models
from cvdetect.core.progress import NullProgress
from cvdetect.models.store import Store

BARE = """
import sys
import cv2
cfg, weights, picture = sys.argv[1:]
net = cv2.dnn.readNetFromDarknet(cfg, weights)
blob = cv2.dnn.blobFromImage(cv2.imread(picture), 1 / 255, (416, 416), swapRB=True, crop=False)
net.setInput(blob)
net.forward(net.getUnconnectedOutLayersNames())
"""


def measure(rounds: int) -> None:
    store = Store()
    files = store.ensure(load_models().get("yolov3-tiny"), NullProgress())
    cache, picture = str(store.root.resolve()), str(timing.DOG)
    ours = ["-m", "cvdetect", "--offline", "--cache-dir", cache, "image", "-m", "yolov3-tiny", picture]
    bare = ["-c", BARE, str(files["cfg"].resolve()), str(files["weights"].resolve()), picture]
    with timing.clean_start() as (env, folder):
        times = timing.interleave(
            {
                "bare script": timing.command(bare, env, folder),
                "cvdetect image": timing.command(ours, env, folder),
                "import cv2": timing.command(["-c", "import cv2"], env, folder),
            },
            rounds,
        )
    bare_times = times["bare script"]
    timing.print_ratios(
        [
            ("bare script", bare_times, "cvdetect image", times["cvdetect image"], "<= 1.25"),
            ("bare script", bare_times, "import cv2", times["import cv2"], ""),
        ]
    )


if __name__ == "__main__":
    timing.main(measure, __doc__, rounds=15)
