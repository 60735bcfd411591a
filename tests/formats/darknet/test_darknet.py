from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.formats.darknet import (
    Cfg,
    check_size,
    check_weights,
    flops,
    for_opencv,
    layers,
    parameters,
    parse_cfg,
    total_stride,
)

DEBIAN = Path("/usr/share/darknet/cfg")
NET = "[net]\nwidth=64\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
TO_YOLO = "[convolutional]\nfilters=14\nsize=1\n"
YOLO = "[yolo]\nmask=0,2\nanchors=1,2, 3,4, 5,6\nnum=3\nclasses=2\n"
TO_REGION = "[convolutional]\nfilters=14\nsize=1\n"
REGION = "[region]\nanchors=1,2,3,4.5\nnum=2\nclasses=2\ncoords=4\nsoftmax=1\n"
LONG = struct.pack("<iiiQ", 0, 2, 5, 0)
SHORT = struct.pack("<iiii", 0, 1, 0, 0)


def cfg_of(*sections: str) -> Cfg:
    return parse_cfg("".join((NET, *sections)), "a.cfg")


def debian(name: str) -> Cfg:
    path = DEBIAN / name
    if not path.exists():
        pytest.skip("Debian's package darknet is not installed")
    return parse_cfg(path.read_text(), name)


def zoo_cfg(shared: Path, name: str) -> Cfg:
    return parse_cfg((shared / "data" / "models" / name).read_text(), name)


# --- what a good cfg holds --------------------------------------------------------------------------------------------


def test_sections_and_options_carry_their_lines() -> None:
    cfg = parse_cfg("\n# comment\n[net]\n\n width = 6 4 \nheight=64\nchannels=3\n[max]\nsize=2", "a.cfg")
    assert [(s.kind, s.line) for s in cfg.sections] == [("net", 3), ("maxpool", 8)]
    assert (cfg.sections[0].options["width"].value, cfg.sections[0].options["width"].line) == ("64", 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("=", " = ").replace("[", " [ ").replace("]", " ] "),
        lambda text: text.replace("\n", "\n\n; comment\n # [yolo]\n"),
        lambda text: text.replace("filters=8", "filters=8 # eight"),
        lambda text: text.replace("[convolutional]", "[convolutional] # conv"),
        lambda text: text.replace("size=3", "size=3.0"),
        lambda text: text.replace("5,6", "5,6,"),
        lambda text: text.replace("size=3", "size=3px"),
        lambda text: text.replace("[net]", "[network]").replace("[convolutional]", "[conv]"),
        lambda text: text.replace("[net]", "[net] # input"),
        lambda text: text.replace("stride=2", "stride_x=2\nstride_y=2"),
        lambda text: text.replace("filters=8", "filters\t=\t8\nmomentum"),
        lambda text: text.rstrip("\n"),
    ],
)
def test_spelling_that_darknet_reads_changes_nothing(change: Any) -> None:
    text = NET + CONV + TO_YOLO + YOLO
    plain, changed = parse_cfg(text, "a.cfg"), parse_cfg(change(text), "a.cfg")
    assert changed.heads == plain.heads
    assert [layer.shape for layer in layers(changed)] == [layer.shape for layer in layers(plain)]


def test_a_yolo_head_has_the_anchors_of_its_mask() -> None:
    (head,) = cfg_of(CONV, TO_YOLO, YOLO, "scale_x_y=1.05\nnew_coords=1\n").heads
    assert (head.kind, head.layer_index, head.classes) == ("yolo", 2, 2)
    assert head.anchors == ((1, 2), (5, 6))
    assert (head.scale_x_y, head.new_coords, head.stride) == (1.05, True, 2)


def test_a_region_head_has_all_anchors() -> None:
    (head,) = cfg_of(CONV, TO_REGION, REGION).heads
    assert (head.kind, head.anchors) == ("region", ((1, 2), (3, 4.5)))
    assert (head.scale_x_y, head.new_coords) == (1.0, False)


def test_the_input_is_that_of_net() -> None:
    cfg = parse_cfg("[net]\nwidth=64\nheight=32\nchannels=1\nletter_box=1\n" + CONV, "a.cfg")
    assert (cfg.input_wh, cfg.channels, cfg.letter_box, cfg.heads) == ((64, 32), 1, True, ())


def test_the_first_of_two_equal_keys_counts_as_in_darknet_and_is_noted() -> None:
    cfg = cfg_of(CONV.replace("filters=8", "filters=8\nfilters=6"))
    assert layers(cfg)[0].shape[0] == 8
    assert cfg.notes == (
        "a.cfg:7: [convolutional] filters is given twice (lines 6 and 7): the first (8) counts, as in Darknet",
    )
    assert cfg_of(CONV, "size=3\n").notes == ()


def test_a_key_without_value_is_ignored_and_noted() -> None:
    assert cfg_of(CONV, "stride=\n").notes == ("a.cfg:11: [convolutional] stride= has no value and is ignored",)


def test_a_line_without_an_equals_sign_is_ignored_and_noted() -> None:
    cfg = cfg_of(CONV, "Training\n=2\n")
    assert cfg.notes == (
        "a.cfg:11: [convolutional] 'Training' is not key=value and is ignored, as in Darknet",
        "a.cfg:12: [convolutional] '=2' is not key=value and is ignored, as in Darknet",
    )


def test_a_key_alone_hides_its_later_value_as_in_darknet() -> None:
    cfg = cfg_of(CONV.replace("stride=2", "stride\nstride=2"))
    assert layers(cfg)[0].stride == 1
    assert any("stride is given twice (lines 8 and 9): the default counts" in note for note in cfg.notes)


@pytest.mark.parametrize(
    ("sections", "shape"),
    [
        (CONV, (8, 16, 32)),
        (CONV.replace("pad=1", "padding=2"), (8, 17, 33)),
        (CONV.replace("pad=1", ""), (8, 15, 31)),
        (CONV + "[maxpool]\nsize=2\nstride=2\n", (8, 8, 16)),
        (CONV + "[maxpool]\nsize=2\nstride=1\n", (8, 16, 32)),
        (CONV + "[maxpool]\nsize=13\nstride=1\n", (8, 16, 32)),
        (CONV + "[reorg]\nstride=2\n", (32, 8, 16)),
        (CONV + "[upsample]\nstride=2\n", (8, 32, 64)),
        (CONV + "[avgpool]\n", (8, 1, 1)),
        (CONV + "[avgpool]\n[scale_channels]\nfrom=0\n", (8, 16, 32)),
        (CONV + "[connected]\noutput=5\n", (5, 1, 1)),
        (CONV + "[dropout]\n", (8, 16, 32)),
        (CONV + CONV.replace("stride=2", "stride=1") + "[route]\nlayers=-1,0\n", (16, 16, 32)),
        (CONV + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", (4, 16, 32)),
        (CONV + CONV.replace("stride=2", "stride=1") + "[shortcut]\nfrom=-2\n", (8, 16, 32)),
        (CONV + CONV.replace("stride=2", "stride=1") + "[sam]\nfrom=-2\n", (8, 16, 32)),
        (CONV + "[crop]\nnoadjust=1\ncrop_height=4\ncrop_width=6\n", (8, 4, 6)),
    ],
)
def test_output_shapes_are_those_of_opencv(sections: str, shape: tuple[int, int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    cfg = cfg_of(sections)
    assert layers(cfg)[-1].shape == shape
    values = np.zeros(parameters(cfg), np.float32)
    weights = np.frombuffer(LONG + values.tobytes(), np.uint8)
    net = cv2.dnn.readNetFromDarknet(np.frombuffer((NET + sections).encode(), np.uint8), weights)
    net.setInput(np.zeros((1, 3, 32, 64), np.float32))
    output = net.forward()
    assert output.size == np.prod(shape)
    assert output.ndim == 2 or output.shape[1:] == shape


@pytest.mark.parametrize(
    ("sections", "values", "macs"),
    [
        (CONV, 8 * 3 * 9 + 8, 8 * 3 * 9 * 16 * 32),
        (CONV + "batch_normalize=1\n", 8 * 3 * 9 + 4 * 8, 8 * 3 * 9 * 16 * 32),
        (CONV.replace("filters=8", "filters=6\ngroups=3"), 6 * 9 + 6, 6 * 9 * 16 * 32),
        ("[connected]\noutput=5\n", 5 * 3 * 32 * 64 + 5, 5 * 3 * 32 * 64),
        ("[connected]\noutput=5\nbatch_normalize=1\n", 5 * 3 * 32 * 64 + 20, 5 * 3 * 32 * 64),
        ("[maxpool]\n", 0, 0),
    ],
)
def test_parameters_and_flops_follow_the_formulas(sections: str, values: int, macs: int) -> None:
    cfg = cfg_of(sections)
    assert (parameters(cfg), flops(cfg)) == (values, 2 * macs)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("yolov3.cfg", 248_007_048),
        ("yolov3-tiny.cfg", 35_434_956),
        ("yolov3-spp.cfg", 252_209_544),
        ("yolov2.cfg", 203_934_264),
        ("yolov2-tiny.cfg", 44_948_600),
        ("yolov2-voc.cfg", 202_704_264),
        ("yolov2-tiny-voc.cfg", 63_471_560),
    ],
)
def test_the_official_networks_need_the_size_of_their_weights(name: str, size: int) -> None:
    cfg = debian(name)
    check_weights(cfg, LONG, size, "a.weights")
    check_weights(cfg, SHORT, size - 4, "a.weights")
    for header, wrong in ((LONG, size - 4), (LONG, size + 4), (SHORT, size), (LONG, size // 2)):
        with pytest.raises(ModelFileError):
            check_weights(cfg, header, wrong, "a.weights")


@pytest.mark.parametrize(
    ("name", "wh", "billions"),
    [
        ("yolov3-tiny.cfg", (416, 416), 5.57),
        ("yolov3.cfg", (416, 416), 65.86),
        ("yolov3.cfg", (608, 608), 140.69),
        ("yolov3-spp.cfg", (608, 608), 141.45),
        ("yolov2.cfg", (608, 608), 62.94),
        ("yolov2.cfg", (416, 416), 29.46),
        ("yolov2-tiny.cfg", (416, 416), 5.41),
        ("yolov2-tiny-voc.cfg", (416, 416), 6.97),
    ],
)
def test_the_official_networks_have_their_published_flops(name: str, wh: tuple[int, int], billions: float) -> None:
    assert flops(debian(name), wh) / 1e9 == pytest.approx(billions, abs=0.006)


@pytest.mark.parametrize(("name", "billions"), [("yolo-fastest-1.1", 0.251), ("yolo-fastest-1.1-xl", 0.723)])
def test_depthwise_networks_count_their_groups(shared: Path, name: str, billions: float) -> None:
    assert flops(zoo_cfg(shared, f"{name}.cfg")) / 1e9 == pytest.approx(billions, abs=0.0006)


SMALL = ["yolo-fastest-1.1", "yolo-fastest-1.1-xl", "mobilenetv2-yolov3-nano", "mobilenetv2-yolov3-nano-voc"]
SMALL += ["yoloface-500k-v2"]


@pytest.mark.parametrize("name", SMALL)
def test_real_weights_fit_their_cfg_and_opencv_gives_the_expected_rows_and_shapes(shared: Path, name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    folder = shared / "data" / "models"
    text, weights = (folder / f"{name}.cfg").read_text(), (folder / f"{name}.weights").read_bytes()
    cfg = parse_cfg(text, name)
    check_weights(cfg, weights[:64], len(weights), name)
    ready = for_opencv(cfg, np.frombuffer(weights, np.uint8))
    net = cv2.dnn.readNetFromDarknet(np.frombuffer(ready.text.encode(), np.uint8), ready.weights)
    assert ready.outputs == list(net.getUnconnectedOutLayersNames())
    width, height = cfg.input_wh[0], cfg.input_wh[1] + 32
    check_size(cfg, (width, height))
    net.setInput(np.zeros((1, 3, height, width), np.float32))
    shapes = {layer.index: layer.shape for layer in layers(cfg, (width, height))}
    for head, rows in zip(cfg.heads, net.forward(ready.outputs), strict=True):
        _, grid_h, grid_w = shapes[head.layer_index]
        assert (grid_h, grid_w) == (height // head.stride, width // head.stride)
        assert rows.shape == (grid_h * grid_w * len(head.anchors), 5 + head.classes)


def test_every_debian_cfg_parses_or_is_refused_with_a_reason() -> None:
    paths = sorted(DEBIAN.glob("*.cfg"))
    if not paths:
        pytest.skip("Debian's package darknet is not installed")
    refused = {}
    for path in paths:
        try:
            parse_cfg(path.read_text(errors="replace"), path.name)
        except ModelFileError as error:
            refused[path.name] = str(error)
    assert "YOLOv1" in refused["yolov1.cfg"]
    assert "recurrent" in refused["rnn.cfg"]
    assert "YOLO9000" in refused["yolo9000.cfg"]
    assert "YOLOv1" in refused["yolov1-tiny.cfg"]
    assert all("classifier" in refused[name] for name in ("darknet19.cfg", "alexnet.cfg", "vgg-16.cfg", "resnet50.cfg"))
    assert not any(name.startswith(("yolov2", "yolov3")) for name in refused)


# --- what is wrong with a bad cfg -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.cfg: not a Darknet cfg but an empty file"),
        ("# only a comment\n", "a.cfg: holds no section"),
        (NET, "a.cfg:1: [net] no layer follows"),
        ("<!DOCTYPE html><html>", "a.cfg: not a Darknet cfg but an HTML page"),
        ("version https://git-lfs.github.com/spec/v1\nsize 99\n", "a Git LFS pointer (the real file has 99 bytes)"),
        ("\0\0\2\0", "a.cfg: not a Darknet cfg but a binary file"),
        ("width=4\n[net]\n", "a.cfg:1: 'width=4' comes before any section"),
        (CONV, "a.cfg:1: [convolutional] is the first section, but a cfg begins with [net]"),
        (NET + CONV + NET, "a.cfg:11: [net] occurs a second time"),
        (NET + "[convolutional\nsize=3\n", "a.cfg:5: '[convolutional' is not a section header"),
        (NET + "[maxpool] size=3\n", "is not a section header"),
        (
            NET + "[convolutionel]\n",
            "a.cfg:5: [convolutionel] is not a kind of section that OpenCV has; did you mean [con",
        ),
        (NET + "[YOLO]\n", "OpenCV has; did you mean [yolo]?"),
        (NET + "[zzz]\n", "OpenCV runs convolutional, maxpool,"),
        (
            NET + CONV.replace("leaky", "silu"),
            "a.cfg:10: [convolutional] activation=silu: Darknet does not have it and w",
        ),
        (NET + CONV.replace("leaky", "silu"), "its name in Darknet is swish"),
        (NET + CONV.replace("leaky", "Leaky"), "did you mean leaky?"),
        (NET + CONV.replace("leaky", "logstic"), "did you mean logistic?"),
        (NET + "[local]\n", "this is a YOLOv1 network, a kind that OpenCV does not run"),
        (NET + "[detection]\n", "this is a YOLOv1 network"),
        (NET + "[zzz]\n[local]\n[detection]\n", "a.cfg:6: [local] this is a YOLOv1 network"),
        (NET + "[conv]\nactivation=elu\n[lstm]\n[yolo]\n", "a.cfg:7: [lstm] recurrent networks are a kind"),
        ("[net]\ninputs=256\n[gru]\n[softmax]\n", "a.cfg:3: [gru] recurrent networks are a kind"),
        (
            NET + "[crop]\n[conv]\n[avgpool]\n[softmax]\n[cost]\n",
            "a.cfg:9: [cost] this is a classifier, which finds no",
        ),
        (NET + CONV + "[softmax]\n", "a.cfg:11: [softmax] this is a classifier, which finds no boxes"),
        (NET + "[gru]\n", "recurrent networks are a kind that OpenCV does not run"),
        (NET + "[Gaussian_yolo]\n", "OpenCV's Darknet importer does not run this kind of layer"),
        (NET.replace("64", "abc") + CONV, "a.cfg:2: [net] width=abc, which Darknet reads as 0: must be at least 1"),
        (NET.replace("width", "Width") + CONV, "a.cfg:1: [net] has no width=: Darknet does not run without it"),
        (NET.replace("channels=3", "") + CONV, "a.cfg:1: [net] has no channels=: Darknet does not run without it"),
        (NET.replace("channels=3", "channels=9") + CONV, "a.cfg:4: [net] channels=9: no image has as many; networks"),
        (NET.replace("64", "9999999999") + CONV, "the number is too large"),
        (NET.replace("64", "0") + CONV, "a.cfg:2: [net] width=0: must be at least 1"),
        (NET.replace("32", "-32") + CONV, "a.cfg:3: [net] height=-32: must be at least 1"),
        (NET + CONV.replace("size=3", "size=0"), "a.cfg:7: [convolutional] size=0: must be at least 1"),
        (NET + CONV.replace("stride=2", "stride=0"), "stride=0: must be at least 1"),
        (NET + CONV + "groups=2\n", "groups=2 must divide the 3 input channels and filters=8"),
        (NET + CONV + "groups=3\n", "groups=3 must divide the 3 input channels and filters=8"),
        (NET + CONV.replace("leaky", "elu"), "activation=elu: OpenCV has only linear, leaky, relu"),
        (NET + CONV.replace("leaky", "leaky # x"), "activation=leaky#x: a comment follows the activation"),
        (
            NET + CONV.replace("pad=1", "padding=3") + "dilation=2\n",
            "dilation=2: is run only where pad= keeps the size",
        ),
        (NET + CONV + "stride_x=1\n", "stride_x=1: OpenCV has one stride for both directions (1 and 2 here)"),
        (NET + CONV + "[shortcut]\nfrom=-2\n", "from=-2 names layer -1, but only layers 0 to 0 come before this one"),
        (NET + CONV + "[shortcut]\nfrom=1\n", "from=1 names layer 1, but only layers 0 to 0"),
        (NET + "[shortcut]\nfrom=-1\n", "needs a layer before it"),
        (NET + CONV + CONV + "[shortcut]\nfrom=0\n", "adds layer 0 of 32x16 to 16x8: OpenCV needs them equal"),
        (NET + CONV + "[shortcut]\nfrom=-1,-1\n", "from=-1,-1: OpenCV takes only one layer here"),
        (NET + CONV + "[shortcut]\nfrom=-1\nweights_type=per_feature\n", "OpenCV does not read a shortcut's weights"),
        (NET + CONV + "[shortcut]\nfrom=-1\nbeta=2\n", "beta=2: OpenCV does not do this"),
        (NET + CONV + "[shortcut]\nfrom=-1\nalpha=.5\n", "alpha=.5: OpenCV does not do this"),
        (NET + CONV + "share_index=0\n", "a.cfg:11: [convolutional] share_index=0: no layer comes before this one"),
        (NET + CONV + CONV + "share_index=0\n", "share_index=0: layer 0 (line 5) has other weights than this layer"),
        (NET + CONV + "dontload=1\n", "dontload=1: the weights file lacks values that the network needs"),
        (NET + CONV + "batch_normalize=1\ndontloadscales=1\n", "dontloadscales: the weights file lacks values"),
        (NET + CONV + "xnor=1\n", "xnor=1: OpenCV does not do this"),
        (NET + CONV + "flipped=1\n", "flipped=1: OpenCV does not do this"),
        (NET + CONV + "[maxpool]\nmaxpool_depth=1\n", "maxpool_depth=1: OpenCV does not do this"),
        (NET + CONV + "[reorg]\nreverse=1\n", "reverse=1: OpenCV does not do this"),
        (NET + "[route]\nlayers=-1\n", "layers=-1: no layer comes before this one"),
        (NET + CONV + "[route]\nlayers=3\n", "a.cfg:12: [route] layers=3 names layer 3, but only layers 0 to 0"),
        (NET + CONV + "[route]\n", "a.cfg:11: [route] has no layers=: Darknet needs it"),
        (NET + CONV + "[route]\nlayers=0,\n", "Darknet reads another 0 behind the last comma; remove the comma"),
        (
            NET + CONV + CONV + "[route]\nlayers=0,1\n",
            "different size (layer 0: 32x16, layer 1: 16x8); they must be equal",
        ),
        (NET + CONV + "[route]\nlayers=0\ngroups=3\n", "groups=3 must divide the 8 input channels"),
        (NET + CONV + "[route]\nlayers=0\ngroups=2\ngroup_id=2\n", "group_id=2 must lie in 0 to 1"),
        (NET + CONV + "[route]\nlayers=0,0\ngroups=2\n", "OpenCV confuses the layers behind a route with groups="),
        (NET + CONV + "[reorg]\nstride=3\n", "stride=3 must divide the input's 32x16"),
        (
            NET + CONV.replace("=8", "=6") + "[reorg]\nstride=2\n",
            "stride=2: 6 input channels, OpenCV needs multiples of 4",
        ),
        (NET + CONV + "[route]\nlayers=-1 # x, y\n", "Darknet counts the commas of the comment; put it on a line"),
        (NET + "[convolutional]\npadding=1\n", "a.cfg:6: [convolutional] padding=1 with size=1: Darknet reads beyond"),
        (NET + CONV + "[maxpool]\nsize=1\npadding=4\n", "padding=4 is too much for size=1"),
        (NET + CONV + "[maxpool]\nsize=2\npadding=5\n", "padding=5 is too much for size=2"),
        (NET + CONV + TO_YOLO + YOLO + TO_YOLO + YOLO, "takes the boxes of the [yolo] in line 14, which OpenCV cannot"),
        (NET + CONV + "[crop]\ncrop_height=4\ncrop_width=4\n", "unless it has noadjust=1"),
        (NET + "[convolutional]\nfilters=1\nsize=333\n", "the input is too small for it"),
        (NET + "[upsample]\nstride=99999\n", "more than OpenCV can hold"),
        (
            NET + CONV + TO_YOLO + YOLO.replace("0,2", "0,3"),
            "a.cfg:15: [yolo] mask=0,3: 3 is not an anchor; with num=3",
        ),
        (NET + CONV + TO_YOLO + YOLO.replace("3,4,", "3,x,"), "anchors= holds 0: widths and heights must be above 0"),
        (NET + CONV + TO_YOLO + YOLO.replace("3,4,", "3,,"), "anchors= holds 0: widths and heights must be above 0"),
        (NET + CONV + TO_YOLO + YOLO.replace("3,4,", "3,inf,"), "anchors='inf': a finite number is needed"),
        (NET + CONV + TO_YOLO + YOLO.replace("0,2", "0,2,"), "Darknet reads another 0 behind the last comma"),
        (NET + CONV + TO_YOLO + YOLO.replace("3,4,", "3,0,"), "anchors= holds 0: widths and heights must be above 0"),
        (NET + CONV + TO_YOLO + YOLO.replace("classes=2", "classes=0"), "classes=0: must be at least 1"),
        (
            NET + CONV + TO_YOLO.replace("14", "21") + YOLO,
            "a.cfg:12: [convolutional] filters=21, but the [yolo] after it needs 14 with classes=2 and 2 anchors",
        ),
        (NET + CONV + "[maxpool]\n" + YOLO, "[yolo] gets 8 channels, but needs 14 with classes=2 and 2 anchors"),
        (NET + CONV + TO_REGION + REGION + "tree=x\n", "YOLO9000"),
        (NET + CONV + TO_REGION + REGION.replace("softmax=1", "softmax=0"), "only with softmax=1"),
        (NET + CONV + TO_REGION + REGION.replace("coords=4", "coords=5"), "only with coords=4"),
        (NET + CONV + TO_REGION + REGION + "[route]\nlayers=1\n" + REGION, "OpenCV runs only one [region] a network"),
    ],
)
def test_a_bad_cfg_is_reported_with_file_line_section_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        parse_cfg(text, "a.cfg")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_message_stays_short_however_long_the_line_is() -> None:
    for text in (f"[net]\nwidth={'x' * 9999}\n[maxpool]\n", f"[net]\n[{'x' * 9999}]\n", f"[net]\n{'x' * 9999}\n"):
        with pytest.raises(ModelFileError) as caught:
            parse_cfg(text, "a.cfg")
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("activation", ["linear", "leaky", "relu", "swish", "mish", "logistic", "tanh"])
def test_every_activation_let_through_is_run_by_opencv(activation: str) -> None:
    cv2 = pytest.importorskip("cv2")
    text = NET + CONV.replace("leaky", activation)
    weights = LONG + np.ones(parameters(parse_cfg(text, "a.cfg")), np.float32).tobytes()
    net = cv2.dnn.readNetFromDarknet(np.frombuffer(text.encode(), np.uint8), np.frombuffer(weights, np.uint8))
    net.setInput(np.ones((1, 3, 32, 64), np.float32))
    assert net.forward().shape == (1, 8, 16, 32)


HEADERS = ("net", "convolutional", "yolo", "region", "route", "shortcut", "maxpool", "upsample", "connected")
OPTIONS = (
    *("width=64", "filters=14", "size=1", "stride=2", "mask=0", "anchors=1,2", "num=1", "classes=2", "layers=-1,0"),
    *("from=-2", "layers=0", "=", "[", "]", "size=-1", "pad=1", "stride=999999999", "groups=2", "# x", "thresh=.5"),
    *("softmax=1", "nms_threshold = 1", "[yolo] # x", "filters=7", "thresh", "output=3", "\r", "size=1e5"),
)
WORDS = st.sampled_from([*(f"[{kind}]" for kind in HEADERS), *OPTIONS])
CFG_TEXT = st.one_of(st.text(), st.lists(WORDS, max_size=30).map("\n".join))


@settings(deadline=None)
@given(st.one_of(CFG_TEXT, CFG_TEXT.map(lambda text: NET + CONV + TO_YOLO + YOLO + text)))
@example("[net]\n[upsample]\nstride=2147483647\n")
def test_any_text_is_a_cfg_or_a_model_file_error(text: str) -> None:
    try:
        cfg = parse_cfg(text, "a.cfg")
    except ModelFileError:
        return
    assert parameters(cfg) >= 0
    assert len(layers(cfg)) == len(cfg.sections) - 1


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wh", "near"),
    [
        ((300, 300), "such as size 288x288 or 320x320"),
        ((416, 400), "such as size 416x384 or 416x416"),
        ((0, 320), "such as size 32x320"),
        ((-32, -32), "such as size 32x32"),
        ((31, 33), "such as size 32x32 or 32x64"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_that_do(
    shared: Path, wh: tuple[int, int], near: str
) -> None:
    cfg = zoo_cfg(shared, "yolo-fastest-1.1.cfg")
    assert total_stride(cfg) == 32
    with pytest.raises(UsageError, match=rf"size {wh[0]}x{wh[1]} does not fit .*multiples of 32, {re.escape(near)}"):
        check_size(cfg, wh)


@pytest.mark.parametrize("wh", [(32, 32), (320, 320), (608, 416)])
def test_multiples_of_the_stride_fit(shared: Path, wh: tuple[int, int]) -> None:
    check_size(zoo_cfg(shared, "yolo-fastest-1.1.cfg"), wh)


def test_a_network_with_connected_layers_takes_only_its_own_size() -> None:
    cfg = cfg_of(CONV, "[connected]\noutput=3\n")
    check_size(cfg, (64, 32))
    with pytest.raises(UsageError, match="connected layers take only 64x32"):
        check_size(cfg, (64, 64))


def test_a_size_at_which_layers_vanish_is_refused() -> None:
    cfg = cfg_of("[convolutional]\nfilters=2\nsize=9\n")
    with pytest.raises(UsageError, match="the input is too small"):
        check_size(cfg, (8, 8))


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_with_either_header_fit() -> None:
    cfg = cfg_of(CONV)
    check_weights(cfg, LONG, 20 + 4 * parameters(cfg), "a.weights")
    check_weights(cfg, SHORT, 16 + 4 * parameters(cfg), "a.weights")


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        (b"", 0, "a.weights: the file is empty; download it again"),
        (b"<!DOCTYPE html>\n<html>", 9000, "not Darknet weights but an HTML page; download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\nsize 916\n",
            120,
            "not Darknet weights but a Git LFS pointer (the real file has 916 bytes)",
        ),
        (b"404: Not Found", 14, "not Darknet weights but plain text"),
        (LONG, 458, "cut short: 458 of 916 bytes (50%); download it again, or use the cfg that belongs to it"),
        (LONG, 912, "cut short: 912 of 916 bytes"),
        (LONG, 915, "cut short: 915 of 916 bytes"),
        (LONG[:9], 9, "cut short: 9 of 916 bytes"),
        (LONG, 917, "belongs to another network: a.cfg needs 916 bytes, the file has 917; use the cfg"),
        (LONG, 1_832, "belongs to another network: a.cfg needs 916 bytes, the file has 1,832"),
        (SHORT, 916, "belongs to another network: a.cfg needs 912 bytes, the file has 916"),
        (struct.pack("<iiiQ", -7, 2, 5, 0), 916, "does not begin as Darknet weights do"),
        (struct.pack("<iiiQ", 1001, 2, 5, 0), 916, "does not begin as Darknet weights do"),
    ],
)
def test_what_is_not_weights_or_incomplete_is_refused(header: bytes, size: int, message: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        check_weights(cfg_of(CONV), header, size, "a.weights")
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.weights: ")


def test_weights_of_another_network_are_refused(shared: Path) -> None:
    folder = shared / "data" / "models"
    small, large = ((folder / f"yolo-fastest-1.1{suffix}.weights").read_bytes() for suffix in ("", "-xl"))
    cfg = zoo_cfg(shared, "yolo-fastest-1.1.cfg")
    with pytest.raises(ModelFileError, match="another network"):
        check_weights(cfg, large[:64], len(large), "xl.weights")
    with pytest.raises(ModelFileError, match=r"cut short: 692,134 of 1,384,268 bytes \(50%\)"):
        check_weights(cfg, small[:64], len(small) // 2, "half.weights")


@given(st.binary(max_size=80), st.integers(0, 2000))
def test_any_header_fits_or_is_a_model_file_error(header: bytes, size: int) -> None:
    cfg = cfg_of(CONV)
    try:
        check_weights(cfg, header[:size], size, "a.weights")
    except ModelFileError:
        return
    assert size in (912, 916)
