"""Reads data sets with other people's importers, and prints what each of them found as JSON.

Run by the Python of an environment of its own (``.venv-importers``), without cvdetect. Its arguments are pairs:
a folder with a data set of each format, which is named after the format, and the folder of its images.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
with contextlib.redirect_stdout(io.StringIO()):
    import datumaro
    import globox
    import supervision
    from labelformat.formats.coco import COCOInstanceSegmentationInput, COCOObjectDetectionInput
    from labelformat.formats.cvat import CVATObjectDetectionInput
    from labelformat.formats.pascalvoc import PascalVOCObjectDetectionInput
    from labelformat.formats.yolov8 import YOLOv8ObjectDetectionInput
    from pycocotools.coco import COCO

# What an importer found: the labels it knows, and for each image its width and height and (label, x1, y1, x2, y2)
Found = dict[str, Any]


def found(labels: Iterable[str] | None, images: dict[str, tuple[Any, list[list[Any]]]]) -> Found:
    reported = {name: {"wh": wh and [int(v) for v in wh], "boxes": boxes} for name, (wh, boxes) in images.items()}
    return {"labels": None if labels is None else list(labels), "images": reported}


def with_datumaro(path: Path, name: str, **options: Any) -> Found:
    dataset = datumaro.Dataset.import_from(str(path), name, **options)
    labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    images: dict[str, tuple[Any, list[list[Any]]]] = {}
    for item in dataset:
        size = item.media and item.media.size
        boxes = [[labels[a.label], *a.points] for a in item.annotations if a.type == datumaro.AnnotationType.bbox]
        assert len(boxes) == len(item.annotations), "annotations that are no boxes"
        assert item.id not in images, f"{item.id} comes twice"
        images[item.id] = (size and (size[1], size[0]), boxes)
    return found(labels, images)


def with_labelformat(reader: Any) -> Found:
    images: dict[str, tuple[Any, list[list[Any]]]] = {}
    for image in reader.get_labels():
        boxes = [[o.category.name, o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax] for o in image.objects]
        images[image.image.filename] = (image.image.width, image.image.height), boxes
    return found([c.name for c in reader.get_categories()], images)


def with_supervision(folder: Path, dataset: Any) -> Found:
    images = {}
    for path, image, detections in dataset:
        boxes = zip(detections.class_id.tolist(), detections.xyxy.tolist(), strict=True)
        images[Path(path).resolve().relative_to(folder.resolve()).as_posix()] = (
            image.shape[1::-1],
            [[dataset.classes[c], *box] for c, box in boxes],
        )
    return found(dataset.classes, images)


def with_globox(annotations: Any, classes: list[str] | None = None) -> Found:
    """YOLO's label files alone do not say what a class is called: `classes` does."""
    if classes is not None:
        annotations.map_labels({str(number): label for number, label in enumerate(classes)})
    images = {
        one.image_id: (one.image_size, [[b.label, b.xmin, b.ymin, b.xmax, b.ymax] for b in one.boxes])
        for one in annotations
    }
    return found(None, images)


def with_pycocotools(path: Path, results: Path | None = None) -> Found:
    coco = COCO(str(path))
    names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    source = coco if results is None else coco.loadRes(str(results))
    images = {}
    for image in coco.loadImgs(coco.getImgIds()):
        boxes = []
        for one in source.loadAnns(source.getAnnIds(imgIds=[image["id"]])):
            x, y, width, height = one["bbox"]
            boxes.append([names[one["category_id"]], x, y, x + width, y + height])
        images[image["file_name"]] = (image["width"], image["height"]), boxes
    return found(names.values(), images)


def labelformats_masks(path: Path) -> Found:
    """Boxes without masks are none, but must not stop it."""
    reader = COCOInstanceSegmentationInput(path)
    return found([c.name for c in reader.get_categories()], {i.image.filename: (None, []) for i in reader.get_labels()})


def arranged(sets: Path, photos: Path) -> None:
    """What datumaro wants besides: COCO's file in ``annotations/``, and a folder ``images/`` beside that and CVAT's."""
    (sets / "coco" / "annotations").mkdir()
    shutil.copy(sets / "coco" / "instances.json", sets / "coco" / "annotations" / "instances.json")
    shutil.copytree(photos, sets / "coco" / "images")
    shutil.copytree(photos, sets / "cvat" / "images")


def readers(sets: Path, photos: Path) -> dict[str, Callable[[], Found]]:
    coco, yolo, darknet, voc = (sets / name for name in ("coco", "yolo", "yolo-darknet", "voc"))
    instances, cvat = coco / "instances.json", sets / "cvat" / "annotations.xml"
    names = [line.split(":")[0] for line in (voc / "labelmap.txt").read_text("utf-8").splitlines()[1:]]
    annotations, images = str(voc / "Annotations"), str(voc / "JPEGImages")
    return {
        "datumaro coco": lambda: with_datumaro(coco / "annotations" / "instances.json", "coco_instances"),
        "datumaro voc": lambda: with_datumaro(voc, "voc_detection", coordinate_mode="voc-one-based"),
        "datumaro yolo": lambda: with_datumaro(yolo, "yolo"),
        "datumaro yolo-darknet": lambda: with_datumaro(darknet, "yolo"),
        "datumaro cvat": lambda: with_datumaro(cvat, "cvat"),
        "labelformat coco": lambda: with_labelformat(COCOObjectDetectionInput(instances)),
        "labelformat coco masks": lambda: labelformats_masks(instances),
        "labelformat yolo": lambda: with_labelformat(YOLOv8ObjectDetectionInput(yolo / "data.yaml", "train")),
        "labelformat voc": lambda: with_labelformat(PascalVOCObjectDetectionInput(Path(annotations), ",".join(names))),
        "labelformat cvat": lambda: with_labelformat(CVATObjectDetectionInput(cvat)),
        "supervision coco": lambda: with_supervision(
            photos, supervision.DetectionDataset.from_coco(str(photos), str(instances))
        ),
        "supervision yolo": lambda: with_supervision(
            yolo / "images",
            supervision.DetectionDataset.from_yolo(str(yolo / "images"), str(yolo / "labels"), str(yolo / "data.yaml")),
        ),
        "supervision voc": lambda: with_supervision(
            voc / "JPEGImages", supervision.DetectionDataset.from_pascal_voc(images, annotations)
        ),
        "globox coco": lambda: with_globox(globox.AnnotationSet.from_coco(instances)),
        "globox coco results": lambda: with_globox(
            globox.AnnotationSet.from_coco(instances).from_results(coco / "results.json")
        ),
        "globox voc": lambda: with_globox(globox.AnnotationSet.from_pascal_voc(voc / "Annotations", recursive=True)),
        "globox yolo": lambda: with_globox(
            globox.AnnotationSet.from_yolo_darknet(yolo / "labels", image_folder=yolo / "images", recursive=True),
            (yolo / "classes.txt").read_text("utf-8").splitlines(),
        ),
        "globox cvat": lambda: with_globox(globox.AnnotationSet.from_cvat(cvat)),
        "globox openimages": lambda: with_globox(
            globox.AnnotationSet.from_openimage(sets / "openimages" / "openimages.csv", image_folder=photos)
        ),
        "pycocotools coco": lambda: with_pycocotools(instances),
        "pycocotools coco results": lambda: with_pycocotools(instances, coco / "results.json"),
    }


def read(reader: Callable[[], Found]) -> Found:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return reader()
    except Exception as error:  # each importer has its own
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    reported = []
    for sets, photos in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        arranged(Path(sets), Path(photos))
        reported.append({name: read(reader) for name, reader in readers(Path(sets), Path(photos)).items()})
    print(json.dumps(reported))
