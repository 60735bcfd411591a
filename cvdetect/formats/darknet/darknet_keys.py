"""The keys that Darknet reads in each section, and notes on those that it does not.

From the parsers of the Darknets that people train with (parser.c of pjreddie and AlexeyAB, darknet_cfg.cpp of
hank-ai); what any of them reads is no mistake. A key that none of them reads is most often misspelt: Darknet prints
"Unused field" and takes the default, which may be another network.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from cvdetect.formats.darknet.text import Option, Section, plain_numbers

__all__ = ["notes_on_keys"]

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
_WHOLE = frozenset(
    "width height channels letter_box filters groups size stride stride_x stride_y dilation pad padding "
    "batch_normalize output group_id classes num new_coords coords share_index mask layers from".split()
)
_OTHER_NUMBERS = frozenset({"scale_x_y", "scale", "anchors"})
_LIKENESS = 0.72
_MOST_LINES = 6
_MOST_UNUSED = 50
_LONGEST_KEY = 60


def notes_on_keys(name: str, sections: Sequence[Section]) -> tuple[str, ...]:
    """One note on each key that Darknet does not read, misspelt ones first, and on numbers that are none."""
    unused: dict[tuple[str, str], list[int]] = {}
    for section, key, option in _options(sections):
        if key not in _KEYS.get(section.kind, (key,)):
            unused.setdefault((section.kind, key), []).append(option.line)
    near = {place: nearest for place in list(unused)[:_MOST_UNUSED] if (nearest := _nearest(*place, sections))}
    return (
        *(_misspelt(name, *place, near[place], lines) for place, lines in unused.items() if place in near),
        *_no_numbers(name, sections),
        *_others(name, {place: lines for place, lines in unused.items() if place not in near}),
    )


def _options(sections: Iterable[Section]) -> Iterator[tuple[Section, str, Option]]:
    for section in sections:
        for key, option in section.options.items():
            if option.value:
                yield section, key, option


def _nearest(kind: str, key: str, sections: Sequence[Section]) -> str | None:
    """The key that was meant: one that looks alike, and stands beside it in none of these sections."""
    beside = {other for s in sections if s.kind == kind and key in s.options for other in s.options}
    if len(key) > _LONGEST_KEY or any(key in keys for keys in _KEYS.values()):
        return None  # none at all, or rightly spelt in the wrong section
    found = difflib.get_close_matches(key.lower(), sorted(_KEYS[kind] - beside), 1, _LIKENESS)
    return found[0] if found else None


def _misspelt(name: str, kind: str, key: str, near: str, lines: Sequence[int]) -> str:
    return (
        f"{name}:{lines[0]}: [{kind}] {key[:_LONGEST_KEY]}= is no key that Darknet reads here, and has no effect: "
        f"did you mean {near}=?{_also(lines[1:])}"
    )


def _also(lines: Sequence[int]) -> str:
    if not lines:
        return ""
    shown = ", ".join(map(str, lines[:_MOST_LINES])) + (", …" if len(lines) > _MOST_LINES else "")
    return f" (also line{'s' if len(lines) > 1 else ''} {shown})"


def _no_numbers(name: str, sections: Sequence[Section]) -> Iterator[str]:
    for section, key, option in _options(sections):
        whole = key in _WHOLE
        read = key in _KEYS.get(section.kind, ()) and (whole or key in _OTHER_NUMBERS)
        if read and not plain_numbers(option.value, whole):
            sort = "whole numbers" if whole else "numbers"
            yield (
                f"{name}:{option.line}: [{section.kind}] {key}={option.value[:60]} holds more than {sort}: what C "
                "reads at the beginning counts (else 0), as in Darknet"
            )


def _others(name: str, unused: Mapping[tuple[str, str], Sequence[int]]) -> Iterator[str]:
    """One note for all of them: mostly leftovers that change nothing."""
    if unused:
        listed = [f"{key[:_LONGEST_KEY]} in [{kind}] (line {lines[0]})" for (kind, key), lines in unused.items()]
        more = f" and {len(listed) - _MOST_LINES} more" if len(listed) > _MOST_LINES else ""
        yield f"{name}: without effect, as Darknet does not read them there: {', '.join(listed[:_MOST_LINES])}{more}"
