"""Annotation files for a folder of images, with a log; a second run continues where the first stopped.

python examples/annotate_folder.py photos/ labels/ [MODEL]
"""

import logging
import sys

import cvdetect


def main(images: str, out: str, model: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")  # shows what the library logs
    job = cvdetect.AnnotateJob(
        images=images,
        out=out,
        formats=("coco", "yolo"),
        model=cvdetect.ModelChoice.of(model),
        detect=cvdetect.DetectOptions(conf=0.4),
        resume=True,
    )
    report = cvdetect.annotate(job)
    print(f"{report.done} images annotated, {report.failed} failed")
    print(*report.outputs, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
