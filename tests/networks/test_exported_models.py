"""Models exported from public code, with random weights, decode as that code's own post-processing does.

Skipped where PyTorch and the projects are not installed: they are no part of the extra ``test``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.inference.detector import Detector
from cvdetect.inference.preprocess import preprocess
from tests.conftest import make_detections

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
SIZE = (320, 192)
CONF, MOST = 0.3, 5000
# Random weights give equal scores in heaps, among which suppression has no right order: it is left out on both sides.
WITHOUT_NMS = DetectOptions(conf=CONF, nms=1.0, max_det=MOST)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporters warn of their own future
        torch.manual_seed(7)
        yield


def randomised(model: Any, spread: float = 1.0) -> Any:
    """The model with statistics that let signals through, so that scores differ."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.5)
            module.bias.data.normal_(0, 0.3 * spread)
    return model.eval()


def export(model: Any, example: Any, path: Path, names: list[str]) -> Path:
    torch.onnx.export(
        model, example, str(path), opset_version=17, input_names=["images"], output_names=names, dynamo=False
    )
    return path


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)  # no resize in the way


def fed(detector: Detector, image: np.ndarray) -> Any:
    return torch.from_numpy(preprocess([image], detector.model.input_wh, detector.model.input)[0])


def assert_agree(ours: Detections, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> None:
    """The same detections, whatever their order: class, score within 1e-3, corners within 0.1 pixel.

    A score within 1e-3 of the threshold may fall to either side of it.
    """
    theirs = make_detections(boxes.tolist(), classes.astype(int).tolist(), scores.tolist())
    for some, others in ((ours, theirs), (theirs, ours)):
        sure = some[some.score > CONF + 1e-3]
        assert len(sure) > 3
        same = (sure.class_id[:, None] == others.class_id) & (abs(sure.score[:, None] - others.score) < 1e-3)
        apart = abs(sure.xyxy[:, None] - others.xyxy).max(axis=2)  # IoU says nothing of boxes cut to no area
        assert np.where(same, apart, np.inf).min(axis=1).max() < 0.1


def clipped(boxes: Any) -> np.ndarray:
    return np.clip(boxes.numpy(), 0, [*SIZE, *SIZE])


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolov9t.yaml", "yolo11n.yaml", "yolo12n.yaml"])
def test_a_yolo_v8_of_ultralytics(name: str, tmp_path: Path) -> None:
    tasks = pytest.importorskip("ultralytics.nn.tasks", exc_type=Exception)
    from ultralytics.utils.nms import non_max_suppression

    model = randomised(tasks.DetectionModel(name, nc=80, verbose=False))
    head = model.model[-1]
    head.export, head.format = True, "onnx"
    for branch in head.cv3:
        branch[-1].bias.data.normal_(-1, 1)
    example = torch.rand(1, 3, SIZE[1], SIZE[0])
    model(example)
    file = export(model, example, tmp_path / "v8.onnx", ["output0"])
    detector = Detector.load(ModelChoice(onnx=file), WITHOUT_NMS)
    assert detector.model.family.name == "yolo_v8"
    image = picture()
    (rows,) = non_max_suppression(model(fed(detector, image)), CONF, 1.0, max_det=MOST)
    assert_agree(detector.detect(image), clipped(rows[:, :4]), rows[:, 4].numpy(), rows[:, 5].numpy())


def test_a_yolo_v10_with_its_suppression_inside(tmp_path: Path) -> None:
    tasks = pytest.importorskip("ultralytics.nn.tasks", exc_type=Exception)
    model = randomised(tasks.DetectionModel("yolov10n.yaml", nc=80, verbose=False))
    head = model.model[-1]
    head.end2end, head.export, head.format, head.max_det = True, True, "onnx", 300
    for branch in head.one2one_cv3:
        branch[-1].bias.data.normal_(-1, 1)
    example = torch.rand(1, 3, SIZE[1], SIZE[0])
    model(example)
    file = folded(export(model, example, tmp_path / "v10.onnx", ["output0"]))
    detector = Detector.load(ModelChoice(onnx=file), DetectOptions(conf=CONF))
    assert detector.model.family.name == "end2end"
    image = picture()
    (rows,) = model(fed(detector, image))  # (300, 6), finished
    rows = rows[rows[:, 4] >= CONF]
    assert_agree(detector.detect(image), clipped(rows[:, :4]), rows[:, 4].numpy(), rows[:, 5].numpy())


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_the_heads_of_torchvision(name: str, tmp_path: Path) -> None:
    detection = pytest.importorskip("torchvision.models.detection", exc_type=Exception)
    build = {"retinanet": detection.retinanet_resnet50_fpn, "fcos": detection.fcos_resnet50_fpn}[name]
    model = randomised(build(weights=None, weights_backbone=None, num_classes=6), 0.3)
    example = torch.rand(1, 3, SIZE[1], SIZE[0])
    raw = model.head(list(model.backbone(example).values()))
    model.head.classification_head.cls_logits.weight.data /= raw["cls_logits"].std()
    model.head.regression_head.bbox_reg.weight.data /= 2 * raw["bbox_regression"].std()
    torch.nn.init.normal_(model.head.classification_head.cls_logits.bias, -5, 1)

    class Heads(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Any) -> Any:
            return tuple(self.model.head(list(self.model.backbone(pixels).values())).values())

    names = ["cls_logits", "bbox_regression", *(["bbox_ctrness"] if name == "fcos" else [])]
    file = folded(export(Heads(), example, tmp_path / f"{name}.onnx", names))
    model.eval()  # the exporter leaves what it wrapped in training
    detector = Detector.load(ModelChoice(onnx=file), DetectOptions(conf=CONF, nms=1.0, max_det=MOST, multi_label=True))
    assert detector.model.family.name == name
    image = picture()
    pixels = fed(detector, image)
    model.score_thresh, model.nms_thresh, model.topk_candidates, model.detections_per_img = CONF, 1.0, 10**6, 10**6
    theirs = theirs_of(model, pixels)
    keep = theirs["labels"] > 0  # class 0 is the background, which torchvision gives out too
    found = {key: value[keep] for key, value in theirs.items()}
    assert_agree(detector.detect(image), clipped(found["boxes"]), found["scores"].numpy(), found["labels"].numpy())


def theirs_of(model: Any, pixels: Any) -> Any:
    """What torchvision's own anchors and post-processing make of an image that is normalised already."""
    from torchvision.models.detection.image_list import ImageList

    features = list(model.backbone(pixels).values())
    heads = model.head(features)
    size = [(SIZE[1], SIZE[0])]
    anchors = model.anchor_generator(ImageList(pixels, size), features)
    levels = [feature.shape[2] * feature.shape[3] for feature in features]
    per_cell = heads["cls_logits"].shape[1] // sum(levels)
    splits = [level * per_cell for level in levels]
    by_level = {key: list(value.split(splits, dim=1)) for key, value in heads.items()}
    (found,) = model.postprocess_detections(by_level, [list(anchors[0].split(splits))], size)
    return found


def folded(path: Path) -> Path:
    """The model with its constants folded by ONNX Runtime, as OpenCV needs it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path.with_suffix(".folded.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_suffix(".folded.onnx")


def test_the_original_yolo_v5(tmp_path: Path) -> None:
    yolo = pytest.importorskip("yolov5.models.yolo", exc_type=Exception)
    config = next(Path(yolo.__file__).parent.rglob("yolov5n.yaml"))
    model = randomised(yolo.Model(str(config), ch=3, nc=80))
    head = model.model[-1]
    head.export, head.inplace = True, False
    for convolution in head.m:
        convolution.bias.data.normal_(0, 1.5)
    example = torch.rand(1, 3, SIZE[1], SIZE[0])
    file = export(model, example, tmp_path / "v5.onnx", ["output0"])
    detector = Detector.load(ModelChoice(onnx=file), WITHOUT_NMS)
    assert detector.model.family.name == "yolo_v5"
    image = picture()
    out = model(fed(detector, image))
    rows = (out[0] if isinstance(out, (tuple, list)) else out)[0]
    # yolov5/utils/general.py, non_max_suppression: class score times objectness, the best class
    score, best = (rows[:, 5:] * rows[:, 4:5]).max(dim=1)
    kept = (rows[:, 4] > CONF) & (score > CONF)
    rows, score, best = rows[kept], score[kept], best[kept]
    boxes = torch.cat([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], dim=1)
    assert_agree(detector.detect(image), clipped(boxes), score.numpy(), best.numpy())


def test_a_detr_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", exc_type=Exception)
    backbone = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage4"],
    )  # fmt: skip
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=64,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_ffn_dim=64, num_queries=30, num_labels=91, attn_implementation="eager",
    )  # fmt: skip
    model = randomised(transformers.DetrForObjectDetection(config))
    torch.nn.init.normal_(model.class_labels_classifier.weight, 0, 0.7)

    class Outputs(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Any) -> Any:
            out = self.model(pixel_values=pixels)
            return out.logits, out.pred_boxes

    example = torch.randn(1, 3, SIZE[1], SIZE[0])
    file = folded(export(Outputs(), example, tmp_path / "detr.onnx", ["logits", "pred_boxes"]))
    detector = Detector.load(ModelChoice(onnx=file), DetectOptions(conf=CONF))
    assert detector.model.family.name == "detr"
    image = picture()
    model.eval()  # the exporter leaves what it wrapped in training
    out = model(pixel_values=fed(detector, image))
    # transformers, DetrImageProcessor.post_process_object_detection: softmax, the best class but "no object"
    scores, labels = torch.softmax(out.logits[0], -1)[:, :-1].max(-1)
    cx, cy, w, h = out.pred_boxes[0].unbind(-1)
    boxes = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1) * torch.tensor([*SIZE, *SIZE])
    kept = scores >= CONF
    assert_agree(detector.detect(image), clipped(boxes[kept]), scores[kept].numpy(), labels[kept].numpy())
