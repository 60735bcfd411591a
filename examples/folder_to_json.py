"""A folder of images → JSON Lines: one JSON object per image, with the keys that the command line writes.

python examples/folder_to_json.py photos/ found.jsonl [MODEL]
"""

import sys
from pathlib import Path

import cvdetect


def main(folder: str, out: str, model: str | None = None) -> None:
    job = cvdetect.ImageJob(
        inputs=tuple(sorted(str(path) for path in Path(folder).glob("*.jpg"))),
        model=cvdetect.ModelChoice.of(model),
        detect=cvdetect.DetectOptions(conf=0.4),
        save=False,  # no annotated copies
        json=out,
    )
    report = cvdetect.detect_images(job)
    print(f"{report.summary.done} images done, {len(report.summary.failed)} failed, by {report.ran}")
    for failed in report.summary.failed:
        print(failed.error)


if __name__ == "__main__":
    main(*sys.argv[1:])
