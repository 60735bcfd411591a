"""The job of ``cvdetect annotate``: what to annotate, how it went, and what its outputs state of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.sinks.draw import DrawStyle
from cvdetect.storage import Folder, open_folder

__all__ = ["AnnotateJob", "AnnotateReport", "ModelInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateJob:
    """What to annotate. A folder is a path, or an address as a string (``s3://bucket/labels``).

    Attributes:
        images: a folder, a pattern, an image, ``@FILE`` or ``-`` (standard input) for a list of paths; or addresses.
        out: the folder for annotation files; the manifest lies in its sub-folder ``.cvdetect``.
        formats: keys of `FORMATS`; one is written into `out` itself, several each into a folder of its name.
        root: what names are relative to, for a list or a single image; None: the current folder, the image's folder.
        recursive: go into sub-folders.
        draw, crops: folders for annotated copies and for an image of each detection.
        blur: classes (names or ids, or "all") to pixelate in every image that is written.
        review: write an HTML page to look through the results.
        yolo_conf: write the score as a sixth column of YOLO's label files.
        link_images, copy_images: make `out` a whole data set, in formats with a folder for images.
        resume: continue in an `out` that has a manifest: options that decide about outputs and are not given are taken
            from it, options that are given and contradict it are an error. Without a manifest, a run begins.
        overwrite: delete what an earlier run wrote into `out`, and start again; a user's files that lie where files are
            to be written are replaced.
        given: arguments that count as given ("max_det"), for `resume`; None: those whose values are not the defaults.
        fail_fast: stop at the first image that fails.
        workers: networks that run side by side; None takes what is usually fastest.
        batch: images that go through a network at once.
        max_pixels: larger images are not decoded; they fail.
        engine: "local", or "ray" for a Ray cluster; the files are the same.
        ray_address: of a Ray cluster (host:port, ray://host:port, or auto); None starts one on this machine.
    """

    images: str
    out: Path | str
    formats: tuple[str, ...] = ("coco",)
    root: Path | str | None = None
    recursive: bool = True
    model: ModelChoice = ModelChoice()
    detect: DetectOptions = DetectOptions()
    run: RunOptions = RunOptions()
    draw: Path | str | None = None
    crops: Path | str | None = None
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()
    review: bool = False
    yolo_conf: bool = False
    link_images: bool = False
    copy_images: bool = False
    resume: bool = False
    overwrite: bool = False
    fail_fast: bool = False
    workers: int | None = None
    batch: int = 1
    max_pixels: int = MAX_PIXELS
    engine: str = "local"
    ray_address: str | None = None
    given: frozenset[str] | None = None

    @property
    def out_folder(self) -> Folder:
        """The folder for annotation files.

        Raises:
            UsageError, MissingPackage: as `open_folder`, here and in `folders`.
        """
        return open_folder(self.out)

    def folders(self) -> dict[str, Folder]:
        """The folders for images that are written beside the annotations, by kind: "draw", "crops", "review"."""
        given = {"draw": self.draw, "crops": self.crops}
        kinds = {kind: open_folder(folder) for kind, folder in given.items() if folder is not None}
        return kinds | ({"review": self.out_folder.folder("review")} if self.review else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateReport:
    """How a run went.

    Attributes:
        done: images with results, also those of earlier runs.
        detected: images that went through the network in this run.
        failed: images that failed.
        waiting: images that are still to be done, after an interruption.
        unreadable: folders that could not be read.
        interrupted: 130 or 143 where a signal ended the run.
        kept: files that were edited since an earlier run wrote them, and are left as they are.
        replaced: files that cvdetect did not make, or that were edited since, and were replaced (`overwrite`).
        occupied: files that appeared during the run where one of its own was to be written; they are left as they are.
        outputs: what was written, for a person to open: paths and addresses, of folders with a slash at the end.
    """

    done: int
    detected: int
    failed: int
    waiting: int = 0
    unreadable: int = 0
    interrupted: int = 0
    kept: int = 0
    replaced: int = 0
    occupied: int = 0
    outputs: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 all were done, 1 some, 4 nothing could be read, 130 or 143 interrupted."""
        if self.interrupted:
            return self.interrupted
        if self.failed and not (self.done or self.waiting):
            return 4
        return 1 if self.failed or self.unreadable or self.occupied else 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What annotation files need to know of the model, so that they can be written without loading it.

    Attributes:
        model: its name.
        ran: what ran it, as `Ran.as_json` gives it.
        labels: its labels.
    """

    model: str
    ran: dict[str, str]
    labels: LabelSet

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON can hold."""
        labels = {
            "names": list(self.labels.names.items()),
            "category_ids": list(self.labels.category_ids.items()),
            "offset": self.labels.offset,
        }
        return {"model": self.model, "ran": self.ran, "labels": labels}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelInfo:
        """The inverse of `as_json`."""
        labels = value["labels"]
        names, category_ids = dict(map(tuple, labels["names"])), dict(map(tuple, labels["category_ids"]))
        return cls(value["model"], dict(value["ran"]), LabelSet(names, category_ids, labels["offset"]))
