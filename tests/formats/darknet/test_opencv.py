"""What OpenCV computes of a cfg equals what Darknet computes, however terse or odd the cfg."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.formats.darknet import Cfg, check_size, check_weights, for_opencv, layers, parameters, parse_cfg

cv2 = pytest.importorskip("cv2")
Floats = NDArray[np.float32]

HEADER = struct.pack("<iiiQ", 0, 2, 5, 0)
NET = "[net]\nwidth=64\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
SAME = CONV.replace("stride=2", "stride=1")
TO_YOLO = "[convolutional]\nfilters=14\nsize=1\nstride=1\nactivation=linear\n"
YOLO = "[yolo]\nmask=0,1\nanchors=9,12, 23,34\nnum=2\nclasses=2\n"
HEAD = TO_YOLO + YOLO


def random_values(count: int) -> Floats:
    """Small weights; those that are variances too are positive."""
    return np.abs(np.random.default_rng(5).normal(0.1, 0.3, count)).astype(np.float32) + np.float32(0.01)


def file_of(values: Floats) -> NDArray[np.uint8]:
    return np.frombuffer(HEADER + values.astype("<f4").tobytes(), np.uint8)


def image(cfg: Cfg) -> Floats:
    width, height = cfg.fitting_wh
    return np.random.default_rng(7).uniform(0, 1, (1, cfg.channels, height, width)).astype(np.float32)


def run(text: str, values: Floats | None = None) -> list[Floats]:
    """The heads' outputs by the way of the product."""
    cfg = parse_cfg(text, "a.cfg")
    weights = file_of(random_values(parameters(cfg)) if values is None else values)
    check_weights(cfg, weights[:64].tobytes(), weights.size, "a.weights")
    ready = for_opencv(cfg, weights)
    net = cv2.dnn.readNetFromDarknet(np.frombuffer(ready.text.encode(), np.uint8), ready.weights)
    net.setInput(image(cfg))
    return list(net.forward(ready.outputs))


def run_by_opencv(text: str) -> list[Floats]:
    """What OpenCV's importer itself makes of a cfg in which everything is written out."""
    cfg = parse_cfg(text, "a.cfg")
    opened = text.replace("[yolo]\n", "[yolo]\nthresh=0\nnms_threshold=0\n")
    weights = file_of(random_values(parameters(cfg)))
    net = cv2.dnn.readNetFromDarknet(np.frombuffer(opened.encode(), np.uint8), weights)
    net.setInput(image(cfg))
    return list(net.forward(net.getUnconnectedOutLayersNames()))


def assert_equal(ours: list[Floats], right: list[Floats]) -> None:
    assert len(ours) == len(right)
    for one, other in zip(ours, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# --- missing keys -----------------------------------------------------------------------------------------------------

# The line that may be missing, as Darknet reads it then, in a cfg that has everything else.
DEFAULTS = [
    ("[convolutional]\nbatch_normalize=0\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n", "batch_normalize=0"),
    ("[convolutional]\nfilters=1\nsize=3\nstride=2\npad=1\nactivation=leaky\n", "filters=1"),
    ("[convolutional]\nfilters=8\nsize=1\nstride=2\npad=1\nactivation=leaky\n", "size=1"),
    ("[convolutional]\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n", "stride=1"),
    ("[convolutional]\nfilters=8\nsize=3\nstride=2\npad=0\nactivation=leaky\n", "pad=0"),
    ("[convolutional]\nfilters=8\nsize=3\nstride=2\npad=0\npadding=0\nactivation=leaky\n", "padding=0"),
    ("[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\ngroups=1\nactivation=leaky\n", "groups=1"),
    ("[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=logistic\n", "activation=logistic"),
    (CONV + "[maxpool]\nsize=3\nstride=1\npadding=2\n", "stride=1"),
    (CONV + "[maxpool]\nsize=2\nstride=2\npadding=1\n", "size=2"),
    (CONV + "[maxpool]\nsize=3\nstride=2\npadding=2\n", "padding=2"),
    (CONV + "[maxpool]\nsize=1\nstride=1\npadding=0\n", "size=1\nstride=1\npadding=0"),
    (CONV + "[upsample]\nstride=2\n", "stride=2"),
    (CONV + "[reorg]\nstride=1\n", "stride=1"),
    (CONV + SAME + "[route]\nlayers=-1\ngroups=1\ngroup_id=0\n", "groups=1\ngroup_id=0"),
    (CONV + SAME + "[route]\nlayers=-1\ngroups=2\ngroup_id=0\n", "group_id=0"),
    (CONV + SAME + "[shortcut]\nfrom=-2\nactivation=linear\n", "activation=linear"),
    (CONV + SAME + "[sam]\nfrom=-2\nactivation=linear\n", "activation=linear"),
    (
        CONV + "[avgpool]\n" + TO_YOLO.replace("14", "8") + "[scale_channels]\nfrom=0\nactivation=linear\n",
        "activation=linear",
    ),
    (CONV + "[dropout]\nprobability=.2\n", "probability=.2"),
]
YOLO_DEFAULTS = [
    (TO_YOLO.replace("14", "50") + YOLO.replace("classes=2", "classes=20"), "classes=20"),
    (TO_YOLO.replace("14", "7") + "[yolo]\nmask=0\nanchors=9,12\nnum=1\nclasses=2\n", "num=1"),
    (TO_YOLO.replace("14", "7") + "[yolo]\nmask=0\nanchors=9,12\nnum=1\nclasses=2\n", "mask=0"),
    (HEAD, "mask=0,1"),
    (TO_YOLO + YOLO.replace("9,12, 23,34", ".5,.5,.5,.5"), "anchors=.5,.5,.5,.5"),
    (HEAD + "scale_x_y=1\n", "scale_x_y=1"),
    (HEAD + "new_coords=0\n", "new_coords=0"),
]
CASES = [(body, HEAD, line) for body, line in DEFAULTS] + [(CONV + head, "", line) for head, line in YOLO_DEFAULTS]


@pytest.mark.parametrize(("body", "head", "line"), CASES)
def test_a_missing_key_is_darknets_default_written_out(body: str, head: str, line: str) -> None:
    before, _, behind = body.rpartition(f"{line}\n")
    explicit, missing = NET + body + head, NET + before + behind + head
    right = run_by_opencv(explicit)
    assert_equal(run(explicit), right)
    assert_equal(run(missing), right)


def test_a_region_needs_softmax_and_has_defaults_for_the_rest() -> None:
    full = "[region]\nclasses=20\ncoords=4\nnum=1\nanchors=.5,.5\nsoftmax=1\n"
    text = NET + CONV + TO_YOLO.replace("14", "25")
    assert_equal(run(text + "[region]\nsoftmax=1\n"), run(text + full))
    with pytest.raises(ModelFileError, match="only with softmax=1; without it Darknet takes 0"):
        parse_cfg(text + "[region]\n", "a.cfg")


@pytest.mark.parametrize("key", ["width", "height", "channels"])
def test_without_a_size_or_channels_nothing_runs_as_in_darknet(key: str) -> None:
    text = NET.replace(f"{key}=", f"{key}s=") + CONV + HEAD
    notes: list[str] = []
    with pytest.raises(ModelFileError, match=rf"a.cfg:1: \[net\] has no {key}=: Darknet does not run without it"):
        parse_cfg(text, "a.cfg", warn=notes.append)
    assert f"did you mean {key}=?" in notes[0]


def test_a_size_that_is_asked_for_takes_the_place_of_a_missing_one() -> None:
    cfg = parse_cfg(NET.replace("width=64\n", "") + CONV + HEAD, "a.cfg", (96, 64))
    assert (cfg.input_wh, cfg.fitting_wh) == ((96, 64), (96, 64))
    check_size(cfg, (96, 64))


# --- spellings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (CONV.replace("stride=2", "stride_x=2\nstride_y=2"), CONV),
        (CONV.replace("pad=1", "pad=7"), CONV),
        (CONV.replace("pad=1", "padding=1"), CONV),
        (CONV.replace("batch_normalize=1", "cbn=1"), CONV),
        (CONV.replace("batch_normalize=1", "batch_normalize=2"), CONV),
        (CONV.replace("filters=8", "filters=8e3\nfilters=6"), CONV),
        (CONV.replace("size=3", "size=3;kernel"), CONV),
        (CONV.replace("[convolutional]", "[conv]").replace("=", " = ").replace("\n", "\r\n"), CONV),
        (CONV + "assisted_excitation=4000\nstopbackward=1\nburnin_update=2\ndont_update=1\nbin_output=1\n", CONV),
        (CONV + "[upsample]\nactivation=relu\n", CONV + "[upsample]\nstride=2\n"),
        (CONV + "[max]\nstride_x=2\nstride_y=2\nsize=2\nactivation=relu\n", CONV + "[maxpool]\nstride=2\nsize=2\n"),
        (CONV + SAME + "[shortcut]\nfrom=-2\nalpha=1\nbeta=1\n", CONV + SAME + "[shortcut]\nfrom=-2\n"),
        ("[dropout]\n" + CONV, CONV),
        (CONV + "[cost]\n", CONV),
        (CONV + "[route]\nlayers=-1\nactivation=relu\n", CONV),
    ],
)
def test_other_spellings_compute_the_same(text: str, right: str) -> None:
    assert_equal(run(NET + text + HEAD), run_by_opencv(NET + right + HEAD))


@pytest.mark.parametrize(
    ("yolo", "right"),
    [
        (YOLO.replace("9,12, 23,34", "0x9,1.2e1, 23.0px,+34,"), YOLO),
        (YOLO.replace("9,12, 23,34", "9,12, 23,34, 1,2") + "map=x\nrandom=1\nembedding_layer=0\ntrack=1\n", YOLO),
        (YOLO + "activation=leaky\n", YOLO),
        (YOLO + "thresh=.7\nnms_threshold=.1\n", YOLO),
        (YOLO + "scale_x_y=.105e1 # or 1\n", YOLO + "scale_x_y=1.05\n"),
        (YOLO.replace("num=2", "num=3").replace("34", "34,5,6"), YOLO),
    ],
)
def test_other_spellings_of_a_head_compute_the_same(yolo: str, right: str) -> None:
    assert_equal(run(NET + CONV + TO_YOLO + yolo), run_by_opencv(NET + CONV + TO_YOLO + right))


def test_scores_under_a_fifth_come_out_with_every_threshold_opened() -> None:
    (rows,) = run(NET + CONV + TO_YOLO + YOLO + "thresh=.9\n")
    assert (rows[:, 5:] > 0).all()
    assert (rows[:, 5:] < 0.9).any()


# --- layers that nothing uses -----------------------------------------------------------------------------------------

DEAD_ENDS = [
    "[route]\nlayers=0\n\n[convolutional]\nfilters=4\nsize=1\nactivation=mish\n",
    "[route]\nlayers=0\n\n[convolutional]\nfilters=4\nsize=1\nactivation=elu\nantialiasing=1\n",
    "[route]\nlayers=0\n\n[batchnorm]\n[convolutional]\nfilters=4\nsize=3\nxnor=1\n",
    "[route]\nlayers=0\n\n[local_avgpool]\nstride=2\nsize=2\n\n[contrastive]\n[empty]\n[cost]\n",
    "[maxpool]\nsize=5\nstride=1\n",
]


@pytest.mark.parametrize("dead", DEAD_ENDS)
@pytest.mark.parametrize("behind", [True, False], ids=["at the end", "between"])
def test_layers_that_nothing_uses_change_nothing(dead: str, behind: bool) -> None:
    """Their weights stand in the file, before or behind those of the head."""
    cfg = parse_cfg(NET + CONV + dead + HEAD.replace("[conv", "[route]\nlayers=0\n[conv", 1), "a.cfg")
    right = random_values(parameters(parse_cfg(NET + CONV + HEAD, "a.cfg")))
    first = layers(cfg)[0].parameters
    extra = np.full(parameters(cfg) - right.size, np.nan, np.float32)
    if behind:
        text, values = NET + CONV + HEAD + dead, np.concatenate([right, extra])
    else:
        text = NET + CONV + dead + "[route]\nlayers=0\n" + HEAD
        values = np.concatenate([right[:first], extra, right[first:]])
    assert_equal(run(text, values), run(NET + CONV + HEAD, right))


def test_a_short_header_is_left_out_too_when_weights_are_passed_over() -> None:
    """Version 0.1 counts the images seen in 4 bytes."""
    cfg = parse_cfg(NET + CONV + "[route]\nlayers=0\n[conv]\n[route]\nlayers=0\n" + HEAD, "a.cfg")
    values = random_values(parameters(cfg)).astype("<f4").tobytes()
    files = [np.frombuffer(header + values, np.uint8) for header in (HEADER, struct.pack("<iiii", 0, 1, 0, 0))]
    long, short = (for_opencv(cfg, file).weights for file in files)
    assert long.size < files[0].size
    assert long.tobytes() == short.tobytes()


def test_two_heads_keep_their_places_when_a_dead_end_stands_between() -> None:
    second = "[route]\nlayers=0\n" + HEAD
    values = random_values(parameters(parse_cfg(NET + CONV + HEAD + second, "a.cfg")))
    at = 14 * 8 + 14
    dead = "[route]\nlayers=0\n[convolutional]\nfilters=2\n"
    longer = np.concatenate([values[:-at], np.ones(2 * 8 + 2, np.float32), values[-at:]])
    expected = run(NET + CONV + HEAD + second, values)
    assert_equal(run(NET + CONV + HEAD + dead + second, longer), expected)


# --- shared weights and dilation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["1", "-1"])
def test_a_layer_shares_the_weights_of_an_earlier_one(index: str) -> None:
    shared, own = NET + CONV + SAME + SAME + f"share_index={index}\n" + HEAD, NET + CONV + SAME + SAME + HEAD
    values = random_values(parameters(parse_cfg(shared, "a.cfg")))
    first, second = (layers(parse_cfg(own, "a.cfg"))[place].parameters for place in (0, 1))
    twice = np.concatenate([values[: first + second], values[first:]])
    assert_equal(run(shared, values), run(own, twice))


def test_a_dilated_kernel_has_holes() -> None:
    dilated, plain = NET + CONV + SAME + "dilation=3\n" + HEAD, NET + CONV + SAME.replace("size=3", "size=7") + HEAD
    cfg = parse_cfg(dilated, "a.cfg")
    values = random_values(parameters(cfg))
    first, second = (layer.parameters for layer in layers(cfg)[:2])
    kernels = values[first + 32 : first + second].reshape(8, 8, 3, 3)
    wide = np.zeros((8, 8, 7, 7), np.float32)
    wide[:, :, ::3, ::3] = kernels
    longer = np.concatenate([values[: first + 32], wide.ravel(), values[first + second :]])
    assert_equal(run(dilated, values), run(plain, longer))


# --- heads, sizes, channels -------------------------------------------------------------------------------------------


def test_heads_that_disagree_about_classes_are_refused_with_both_lines() -> None:
    other = "[route]\nlayers=0\n" + TO_YOLO.replace("14", "20") + YOLO.replace("classes=2", "classes=5")
    message = r"a.cfg:33: \[yolo\] classes=5, but the \[yolo\] above has classes=2 \(line 21\)"
    with pytest.raises(ModelFileError, match=message):
        parse_cfg(NET + CONV + HEAD + other, "a.cfg")


def test_a_cfg_has_heads_of_one_kind() -> None:
    region = "[route]\nlayers=0\n" + TO_YOLO + "[region]\nnum=2\nclasses=2\nsoftmax=1\n"
    with pytest.raises(ModelFileError, match=r"\[region\] comes with the \[yolo\] of line 17"):
        parse_cfg(NET + CONV + HEAD + region, "a.cfg")


TWO_SIZES = CONV + CONV + "[upsample]\n[route]\nlayers=-1,0\n" + HEAD


def test_a_cfg_whose_own_size_does_not_fit_runs_at_one_that_does() -> None:
    text = NET.replace("width=64", "width=70") + TWO_SIZES
    cfg = parse_cfg(text, "a.cfg")
    message = r"a.cfg: its own size 70x32 does not fit: .* multiples of 4, such as size 68x32 or 72x32"
    with pytest.raises(UsageError, match=message):
        check_size(cfg, cfg.input_wh)
    sized = parse_cfg(text, "a.cfg", (72, 32))
    check_size(sized, (72, 32))
    assert parameters(sized) == parameters(cfg)


def test_layers_that_fit_at_no_size_are_an_error_of_the_cfg() -> None:
    with pytest.raises(ModelFileError, match="joins layers of different size"):
        parse_cfg(NET + CONV + CONV + "[route]\nlayers=0,1\n" + HEAD, "a.cfg")


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_of_one_and_four_channels_run(channels: int) -> None:
    text = NET.replace("channels=3", f"channels={channels}") + CONV + HEAD
    assert_equal(run(text), run_by_opencv(text))


# --- notes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            CONV.replace("batch_normalize", "batch_normalise"),
            "a.cfg:6: [convolutional] batch_normalise= is not a key that",
        ),
        (CONV.replace("stride", "stirde"), "did you mean stride=?"),
        (CONV.replace("pad", "Pad"), "did you mean pad=?"),
        (
            CONV.replace("filters", "filter") + CONV.replace("filters", "filter"),
            "did you mean filters=? (also line 14)",
        ),
        (CONV.replace("size=3", "size=3.5"), "a.cfg:8: [convolutional] size=3.5 holds more than whole numbers"),
        (CONV.replace("pad=1", "pad=yes"), "a.cfg:10: [convolutional] pad=yes holds more than whole numbers"),
        (
            CONV + "[maxpool]\nlayers=3\n",
            "without effect, as Darknet does not read them there: layers in [maxpool] (line 13)",
        ),
        (CONV + "[route]\nlayers=-1,x\n", "layers=-1,x holds more than whole numbers"),
        (CONV + "zzz=3\n", "without effect, as Darknet does not read them there: zzz in [convolutional] (line 12)"),
        (
            CONV + TO_YOLO + YOLO.replace("num=2", "num=3") + "[route]\nlayers=0\n",
            "has 4 numbers, num=3 needs 6: the missing",
        ),
    ],
)
def test_what_darknet_does_not_read_is_noted_with_the_nearest_key(text: str, note: str) -> None:
    notes: list[str] = []
    cfg = parse_cfg(NET + text + HEAD, "a.cfg", warn=notes.append)
    assert cfg.notes == tuple(notes)
    assert any(note in one for one in notes)


def test_only_a_hash_ends_anchors_as_in_darknet() -> None:
    """AlexeyAB's parse_yolo counts commas up to "#", and its atof reads 20 of "20;30"."""

    def anchors(text: str) -> object:
        return parse_cfg(NET + CONV + HEAD.replace("9,12, 23,34", text), "a.cfg").heads[0].anchors

    assert anchors("10,20;30,40,50") == anchors("10,20,40,50") != anchors("10,20 # 30,40,50")


def test_the_end_of_a_dos_text_changes_nothing() -> None:
    assert parse_cfg(NET + CONV + HEAD + "\x1a", "a.cfg").notes == parse_cfg(NET + CONV + HEAD, "a.cfg").notes


@pytest.mark.parametrize(
    "options",
    [
        "[net]\nbatch=64\nsubdivisions=16\nmosaic=1\ncutmix=1\npolicy=sgdr\nsteps=1,2\nscales=.1,.1\nhue=.1\n",
        "[net]\n#batch=1\nbatch=64\nbatch=1\nlearning_rate=1e-3\nema_alpha=0.9998\ntrack=1\ntime_steps=1\n",
    ],
)
def test_options_for_training_are_not_noted(options: str) -> None:
    text = options + NET.removeprefix("[net]\n") + CONV + HEAD + "random=1\njitter=.3\niou_loss=ciou\nmax=200\n"
    assert parse_cfg(text, "a.cfg").notes == ()


def test_a_misspelt_key_is_noted_before_what_it_breaks() -> None:
    notes: list[str] = []
    with pytest.raises(ModelFileError):
        parse_cfg(NET + CONV + TO_YOLO.replace("filters", "fliters") + YOLO, "a.cfg", warn=notes.append)
    assert "did you mean filters=?" in notes[0]


def test_the_networks_of_the_zoo_and_of_debian_give_no_notes(shared: Path) -> None:
    paths = [*(shared / "data" / "models").glob("*.cfg"), *Path("/usr/share/darknet/cfg").glob("yolov[23]*.cfg")]
    assert {path.name: parse_cfg(path.read_text(), path.name).notes for path in paths} == {p.name: () for p in paths}


# --- weights that are not whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "stated"), [(1, 1), (2, 2)])
def test_pretrained_first_layers_are_named(count: int, stated: int) -> None:
    cfg = parse_cfg(NET + CONV + SAME + HEAD, "a.cfg")
    values = sum(layer.parameters for layer in layers(cfg)[:count])
    for header in (HEADER, struct.pack("<iiii", 0, 1, 0, 0)):
        with pytest.raises(
            ModelFileError, match=rf"holds only the first {stated} layers \(of 4 in a.cfg\): pretrained"
        ):
            check_weights(cfg, header, len(header) + 4 * values, "a.weights")


def test_a_file_named_as_pretrained_layers_is_named_so_for_any_cfg() -> None:
    cfg = parse_cfg(NET + CONV + HEAD, "a.cfg")
    with pytest.raises(ModelFileError, match=r"yolov4.conv.137: holds only the first 137 layers.*pretrained layers"):
        check_weights(cfg, HEADER, 20 + 4 * 99999, "yolov4.conv.137")
