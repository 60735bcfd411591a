"""The text of a Darknet cfg: its sections, its options with their lines, their numbers, and keys that have no effect.

Everything is read as Darknet reads it (option_list.c, parser.c, utils.c): spaces and tabs are dropped everywhere,
lines that begin with "#" or ";" are comments, the first of two equal keys counts, and a number is what C's
atoi and atof make of the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.printable import closest

__all__ = ["Option", "Section", "SectionReader", "notes_on_keys", "read_sections"]

_DROPPED = re.compile(r"[ \t\r\ufeff]+")
_COMMENT = re.compile(r"[#;].*", re.DOTALL)
_ATOI = re.compile(r"\s*([-+]?[0-9]{1,10})(?![0-9])")
_TOO_LARGE = re.compile(r"\s*[-+]?[0-9]{11}")
_ATOF = re.compile(r"\s*[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[-+]?[0-9]+(\.0*)?")
_HEX = re.compile(r"\s*[-+]?0[xX]([0-9a-fA-F]{1,16}(\.[0-9a-fA-F]{0,16})?|\.[0-9a-fA-F]{1,16})([pP][-+]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"\s*[-+]?(inf|nan)", re.IGNORECASE)
_INT32_MAX = 2**31 - 1
_LONGEST_MESSAGE = 300
# The keys of [net] that matter without training.
_NET_KEYS = ("width", "height", "channels", "letter_box")
# Darknet's other names of the same sections (parser.c, string_to_layer_type).
_ALIASES: Mapping[str, str] = MappingProxyType(
    {"network": "net", "conv": "convolutional", "conn": "connected", "max": "maxpool", "avg": "avgpool"}
    | {"soft": "softmax", "lrn": "normalization", "deconv": "deconvolutional", "local_avg": "local_avgpool"}
    | {"silence": "empty"}
)


@dataclass(frozen=True, slots=True)
class Option:
    """The value of one `key=value` line, without spaces, and the number of that line (from 1).

    The value is "" for a line without "=": Darknet then takes its default, even where the key follows again below.
    """

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a cfg: `kind` is "convolutional" for `[convolutional]` and `[conv]`, `line` that of its header."""

    kind: str
    line: int
    options: Mapping[str, Option]


def _fail(name: str, line: int, section: str, message: str) -> NoReturn:
    """Raise ModelFileError for one place in a cfg."""
    where = f"[{section[:40]}] " if section else ""
    shown = message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 3] + "..."
    raise ModelFileError(f"{name}:{line}: {where}{shown}")


def _are_plain_numbers(value: str, whole: bool) -> bool:
    """Whether C's atoi (`whole`) or atof reads all of an option's numbers, apart from a comment behind them."""
    items = _COMMENT.sub("", value).removesuffix(",").split(",")
    return all(_WHOLE.fullmatch(item) if whole else _ATOF.fullmatch(item) for item in items)


@dataclass(frozen=True, slots=True)
class SectionReader:
    """Reads the options of one section and names file, line and section where they are wrong.

    Every method raises ModelFileError.
    """

    name: str
    section: Section

    def fail(self, message: str, key: str = "") -> NoReturn:
        """Raise ModelFileError at the line of `key`, or of the section where it has no such option."""
        option = self.section.options.get(key)
        _fail(self.name, option.line if option else self.section.line, self.section.kind, message)

    def has(self, key: str) -> bool:
        """Whether the section gives this option a value."""
        option = self.section.options.get(key)
        return bool(option and option.value)

    def line(self, key: str) -> int:
        """The line of the option, or of the section where it has no such option."""
        return self.section.options[key].line if self.has(key) else self.section.line

    def text(self, key: str, default: str = "") -> str:
        """The option's whole value; a comment behind it belongs to it, as in Darknet."""
        return self.section.options[key].value if self.has(key) else default

    def integer(self, key: str, default: int, least: int | None = None) -> int:
        """The option as a whole number of at least `least`."""
        value = self._atoi(key, self.text(key)) if self.has(key) else default
        if least is not None and value < least:
            written = self.text(key, str(value))
            read = f", which Darknet reads as {value}" if written != str(value) else ""
            self.fail(f"{key}={written}{read}: must be at least {least}", key)
        return value

    def number(self, key: str, default: float) -> float:
        """The option as a finite number."""
        return self._atof(key, self.text(key)) if self.has(key) else default

    def integers(self, key: str) -> tuple[int, ...]:
        """The option, which is required, as whole numbers separated by commas."""
        if not self.has(key):
            self.fail(f"has no {key}=: Darknet needs it")
        items = _COMMENT.sub("", self.text(key)).split(",")
        # Only a mask ends at "#" for Darknet (parser.c); elsewhere it counts the commas of a comment too.
        read = self.text(key).partition("#")[0] if key == "mask" else self.text(key)
        if read.count(",") >= len(items):
            self.fail(f"{key}={read}: Darknet counts the commas of the comment; put it on a line of its own", key)
        if not items[-1]:
            self.fail(f"{key}={self.text(key)}: Darknet reads another 0 behind the last comma; remove the comma", key)
        return tuple(self._atoi(key, item) for item in items)

    def numbers(self, key: str) -> tuple[float, ...]:
        """The option as finite numbers separated by commas; () where it is missing.

        Anchors end at "#" for Darknet, not at ";" (parser.c, parse_yolo): of "14;23" it reads 14.
        """
        items = self.text(key).partition("#")[0].removesuffix(",")
        return tuple(self._atof(key, item) for item in items.split(",")) if items else ()

    def _atoi(self, key: str, text: str) -> int:
        found = _ATOI.match(text)
        value = int(found[1]) if found else 0
        if abs(value) > _INT32_MAX or _TOO_LARGE.match(text):
            self.fail(f"{key}={text}: the number is too large", key)
        return value

    def _atof(self, key: str, text: str) -> float:
        as_hex, found = _HEX.match(text), _ATOF.match(text)
        value = float.fromhex(as_hex[0]) if as_hex else float(found[0]) if found else 0.0
        if not math.isfinite(value) or _NOT_FINITE.match(text):
            self.fail(f"{key}={text!r}: a finite number is needed", key)
        return value


def read_sections(text: str, name: str) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Split a cfg into its sections.

    Returns the sections in order, and one note on each line without the effect that was meant (keys given twice, keys
    without a value). Raises ModelFileError for a line that is not a header, option or comment.
    """
    foreign = describe_foreign(text[:4096].rstrip("\x1a").encode("utf-8", "replace"), text_expected=True)
    if foreign:
        raise ModelFileError(f"{name}: not a Darknet cfg but {foreign}; get the .cfg file itself")
    sections: list[Section] = []
    notes: list[str] = []
    options: dict[str, Option] = {}
    for number, raw in enumerate(text.rstrip("\x1a").split("\n"), start=1):
        line = _DROPPED.sub("", raw)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            options = {}
            sections.append(Section(_header(line, number, name), number, MappingProxyType(options)))
            continue
        if not sections:
            _fail(name, number, "", f"{_short(line)} comes before any section; a cfg begins with [net]")
        kind = sections[-1].kind
        notes += [f"{name}:{number}: [{kind}] {note}" for note in _read_option(line, number, kind, options)]
    return tuple(sections), tuple(notes)


def _header(line: str, number: int, name: str) -> str:
    kind, bracket, rest = line[1:].partition("]")
    if not bracket or not kind or (rest and rest[0] not in "#;"):
        _fail(name, number, "", f"{_short(line)} is not a section header; write it as [kind] on a line of its own")
    return _ALIASES.get(kind, kind)


def _read_option(line: str, number: int, kind: str, options: dict[str, Option]) -> list[str]:
    """Add one line to `options`; returns notes on it."""
    key, equals, value = line.partition("=")
    if not equals or not key:
        options.setdefault(key, Option("", number))
        return [f"{_short(line)} is not key=value and is ignored, as in Darknet"]
    if not value:
        return [f"{_short(key)[1:-1]}= has no value and is ignored"]
    earlier = options.setdefault(key, Option(value, number))
    if earlier.value == value or (kind == "net" and key not in _NET_KEYS):
        return []
    first = f"the first ({_short(earlier.value)[1:-1]})" if earlier.value else "the default"
    return [f"{_short(key)[1:-1]} is given twice (lines {earlier.line} and {number}): {first} counts, as in Darknet"]


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")


# The keys that Darknet reads in each section, from the parsers of the Darknets that people train with (parser.c of
# pjreddie and AlexeyAB, darknet_cfg.cpp of hank-ai); what any of them reads is not a mistake. A key that none of them
# reads is most often misspelt: Darknet prints "Unused field" and takes the default, which may be another network.

_EVERY_LAYER = frozenset(
    "clip onlyforward dont_update burnin_update stopbackward train_only_bn dontload dontloadscales dontsave numload "
    "learning_rate smooth truth".split()
)
_NET = """
    max_batches batch learning_rate learning_rate_min sgdr_cycle sgdr_mult momentum decay subdivisions time_steps track
    augment_speed sequential_subdivisions try_fix_nan weights_reject_freq equidistant_point
    badlabels_rejection_percentage num_sigmas_reject_badlabels ema_alpha use_cuda_graph loss_scale dynamic_minibatch
    optimized_memory workspace_size_limit_MB adam B1 B2 eps height width channels inputs max_crop min_crop max_ratio
    min_ratio center flip blur gaussian_noise mixup cutmix mosaic mosaic_bound letter_box contrastive
    contrastive_jit_flip contrastive_color unsupervised label_smooth_eps resize_step attention adversarial_lr
    max_chart_loss angle aspect saturation exposure hue power policy burn_in step scale steps scales seq_scales gamma
    show_receptive_field notruth
"""
_POOL = "stride stride_x stride_y size padding maxpool_depth out_channels antialiasing maxpool_zero_nonmax"
_REGION = """
    coords classes num max log sqrt softmax focal_loss jitter resize rescore thresh classfix absolute random coord_scale
    object_scale noobject_scale mask_scale class_scale bias_match tree map anchors background
"""
# thresh and nms_threshold are OpenCV's.
_YOLO = """
    classes num mask max show_details max_delta counters_per_class label_smooth_eps scale_x_y objectness_smooth
    new_coords iou_normalizer obj_normalizer cls_normalizer delta_normalizer iou_loss iou_thresh_kind beta_nms nms_kind
    jitter resize focal_loss ignore_thresh truth_thresh iou_thresh random track_history_size sim_thresh dets_for_track
    dets_for_show track_ciou_norm embedding_layer map anchors uc_normalizer yolo_point thresh nms_threshold
"""
_CONVOLUTIONAL = """
    filters groups size stride stride_x stride_y dilation antialiasing pad padding activation assisted_excitation
    share_index batch_normalize cbn binary xnor bin_output sway rotate stretch stretch_sway flipped dot angle grad_centr
    reverse coordconv stream wait_stream
"""
_KEYS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        kind: frozenset(keys.split()) | (frozenset() if kind == "net" else _EVERY_LAYER)
        for kind, keys in {
            "net": _NET,
            "convolutional": _CONVOLUTIONAL,
            "connected": "output activation batch_normalize",
            "maxpool": _POOL,
            "local_avgpool": _POOL,
            "avgpool": "",
            "softmax": "groups temperature tree spatial noloss",
            "cost": "type scale ratio noobj",
            "crop": "crop_height crop_width flip angle saturation exposure noadjust shift",
            "dropout": "probability dropblock dropblock_size_rel dropblock_size_abs",
            "reorg": "stride reverse flatten extra",
            "reorg3d": "stride reverse",
            "route": "layers groups group_id stream wait_stream",
            "shortcut": "from activation weights_type weights_normalization alpha beta",
            "scale_channels": "from scale_wh activation",
            "sam": "from activation",
            "upsample": "stride scale",
            "region": _REGION,
            "yolo": _YOLO,
        }.items()
    }
)
# Their numbers decide what is computed.
_WHOLE_NUMBERS = frozenset(
    "width height channels letter_box filters groups size stride stride_x stride_y dilation pad padding "
    "batch_normalize output group_id classes num new_coords coords share_index mask layers from".split()
)
_OTHER_NUMBERS = frozenset({"scale_x_y", "scale", "anchors"})
_LIKENESS = 0.72
_MOST_LINES = 6
_MOST_UNUSED = 50
_LONGEST_KEY = 60


def notes_on_keys(name: str, sections: Sequence[Section]) -> tuple[str, ...]:
    """One note on each key that Darknet does not read, misspelt ones first, and on values that are not numbers."""
    unused: dict[tuple[str, str], list[int]] = {}
    for section, key, option in _options(sections):
        if key not in _KEYS.get(section.kind, (key,)):
            unused.setdefault((section.kind, key), []).append(option.line)
    near = {place: other for place in list(unused)[:_MOST_UNUSED] if (other := _nearest(*place, sections))}
    return (
        *(_misspelt(name, *place, near[place], lines) for place, lines in unused.items() if place in near),
        *_not_numbers(name, sections),
        *_others(name, {place: lines for place, lines in unused.items() if place not in near}),
    )


def _options(sections: Iterable[Section]) -> Iterator[tuple[Section, str, Option]]:
    for section in sections:
        for key, option in section.options.items():
            if option.value:
                yield section, key, option


def _nearest(kind: str, key: str, sections: Sequence[Section]) -> str | None:
    """The key that was meant: one that looks alike, and is not in the same section as well."""
    beside = {other for s in sections if s.kind == kind and key in s.options for other in s.options}
    if len(key) > _LONGEST_KEY or any(key in keys for keys in _KEYS.values()):
        return None  # not a key at all, or spelt right in the wrong section
    return closest(key.lower(), sorted(_KEYS[kind] - beside), _LIKENESS)


def _misspelt(name: str, kind: str, key: str, near: str, lines: Sequence[int]) -> str:
    return (
        f"{name}:{lines[0]}: [{kind}] {key[:_LONGEST_KEY]}= is not a key that Darknet reads here, and has no effect: "
        f"did you mean {near}=?{_also(lines[1:])}"
    )


def _also(lines: Sequence[int]) -> str:
    if not lines:
        return ""
    shown = ", ".join(map(str, lines[:_MOST_LINES])) + (", …" if len(lines) > _MOST_LINES else "")
    return f" (also line{'s' if len(lines) > 1 else ''} {shown})"


def _not_numbers(name: str, sections: Sequence[Section]) -> Iterator[str]:
    for section, key, option in _options(sections):
        whole = key in _WHOLE_NUMBERS
        read = key in _KEYS.get(section.kind, ()) and (whole or key in _OTHER_NUMBERS)
        if read and not _are_plain_numbers(option.value, whole):
            sort = "whole numbers" if whole else "numbers"
            yield (
                f"{name}:{option.line}: [{section.kind}] {key}={option.value[:60]} holds more than {sort}: only what "
                "C reads at the beginning counts (else 0), as in Darknet"
            )


def _others(name: str, unused: Mapping[tuple[str, str], Sequence[int]]) -> Iterator[str]:
    """One note for all other unused keys: mostly leftovers that change nothing."""
    if unused:
        listed = [f"{key[:_LONGEST_KEY]} in [{kind}] (line {lines[0]})" for (kind, key), lines in unused.items()]
        more = f" and {len(listed) - _MOST_LINES} more" if len(listed) > _MOST_LINES else ""
        yield f"{name}: without effect, as Darknet does not read them there: {', '.join(listed[:_MOST_LINES])}{more}"
