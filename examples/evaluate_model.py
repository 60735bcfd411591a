"""How good a model is on images with ground truth: COCO's figures. Needs the extra [eval].

python examples/evaluate_model.py photos/ instances.json [MODEL]
"""

import sys
from pathlib import Path

import cvdetect


def main(images: str, truth: str, model: str | None = None) -> None:
    job = cvdetect.EvalJob(images=Path(images), truth=Path(truth), model=cvdetect.ModelChoice.of(model))
    report = cvdetect.evaluate(job)
    print(f"AP {report.coco['AP']:.3f}, AP50 {report.coco['AP50']:.3f}")
    for one in report.classes:
        if one.objects:
            print(f"{one.label}: {one.objects} objects, {one.rates.tp} found, {one.rates.fp} false positives")


if __name__ == "__main__":
    main(*sys.argv[1:])
