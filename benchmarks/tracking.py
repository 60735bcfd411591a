"""Numbers of `--track` on synthetic scenes with known objects, detected with the faults of real detectors.

Each scene is moved, hidden, missed, jittered and renamed at random from fixed seeds; the table gives, over its runs,
how many numbers were assigned to how many objects, how often an object changed its number, how often two objects
shared one, and how often one had none at its third detection or later. Where the library `trackers` is installed, the
last columns are those of its ByteTrack. `--clip` runs yolov3-tiny on real objects that are moved over a background.

    python benchmarks/tracking.py [--runs N] [--clip]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame
from cvdetect.core.options import DetectOptions
from cvdetect.core.progress import Controls
from cvdetect.inference.tracking import Tracker

WH = (1280, 720)
IMAGE = np.zeros((WH[1], WH[0], 3), np.uint8)


@dataclass(frozen=True)
class Thing:
    """An object: its class, its size, and where its centre is at the times from `begin` to `end` (seconds)."""

    class_id: int
    wh: tuple[float, float]
    at: tuple[float, float]
    speed: tuple[float, float]
    begin: float = 0.0
    end: float = 1e9
    turns: float = 0.0  # pixels that it sways
    hidden: tuple[tuple[float, float], ...] = ()  # from, to
    other_name: int | None = None


@dataclass(frozen=True)
class Scene:
    """What happens, and how badly it is detected."""

    name: str
    things: list[Thing]
    seconds: float = 10.0
    fps: float = 30.0
    every: int = 1
    missed: float = 0.0
    jitter: float = 0.02  # of the size
    flicker: float = 0.0  # how often the other name is given
    double: float = 0.0  # how often both names are
    false: float = 0.0  # detections of nothing, a frame
    pan: float = 0.0  # pixels a second
    walls: list[tuple[float, float]] = field(default_factory=list)  # x from, to: what is behind is cut off, or hidden


def seen(thing: Thing, t: float, scene: Scene) -> np.ndarray | None:
    """The box of a thing at a time, None where it is not visible."""
    if not thing.begin <= t <= thing.end or any(a <= t < b for a, b in thing.hidden):
        return None
    cx = thing.at[0] + thing.speed[0] * (t - thing.begin) + scene.pan * t
    cy = thing.at[1] + thing.speed[1] * (t - thing.begin) + thing.turns * np.sin(t * 2)
    x1, x2 = cx - thing.wh[0] / 2, cx + thing.wh[0] / 2
    for left, right in scene.walls:
        if x1 >= left and x2 <= right:
            return None
        if x1 < left < x2 <= right:
            x2 = left
        if left <= x1 < right < x2:
            x1 = right
    box = np.array([x1, cy - thing.wh[1] / 2, x2, cy + thing.wh[1] / 2])
    cut = np.clip(box, 0, [WH[0], WH[1]] * 2)
    whole = np.prod(thing.wh)
    return cut if np.prod(cut[2:] - cut[:2]) > 0.25 * whole and (cut[2:] > cut[:2]).all() else None


def detect(scene: Scene, t: float, random: np.random.Generator) -> tuple[list, list[int]]:
    rows, truth = [], []
    for i, thing in enumerate(scene.things):
        box = seen(thing, t, scene)
        if box is None or random.random() < scene.missed:
            continue
        names = [thing.class_id]
        if thing.other_name is not None:
            if random.random() < scene.flicker:
                names = [thing.other_name]
            elif random.random() < scene.double:
                names = [thing.class_id, thing.other_name]
        for name in names:
            noise = random.normal(0, scene.jitter, 4) * np.tile(box[2:] - box[:2], 2)
            rows.append((box + noise, name, random.uniform(0.5, 0.95)))
            truth.append(i if name == names[0] else -1)
    for _ in range(random.poisson(scene.false)):
        x, y = random.uniform(0, WH[0] - 100), random.uniform(0, WH[1] - 100)
        w, h = random.uniform(20, 100, 2)
        rows.append((np.array([x, y, x + w, y + h]), int(random.integers(0, 3)), random.uniform(0.5, 0.6)))
        truth.append(-1)
    return rows, truth


@dataclass
class Outcome:
    objects: int = 0
    numbers: int = 0
    switches: int = 0
    shared: int = 0
    late: int = 0
    ms: float = 0.0
    exact: int = 0


def judge(scene: Scene, seed: int, make=Tracker) -> Outcome:
    random, outcome = np.random.default_rng(seed), Outcome()
    tracker = make(scene.fps / scene.every)
    own: dict[int, list[int]] = defaultdict(list)
    sights: dict[int, int] = defaultdict(int)
    numbers: set[int] = set()
    frames = range(0, int(scene.seconds * scene.fps), scene.every)
    for n in frames:
        rows, truth = detect(scene, n / scene.fps, random)
        boxes = np.array([np.sort(r[0].reshape(2, 2), axis=0).ravel() for r in rows]).reshape(-1, 4)
        found = Detections(boxes, [r[1] for r in rows], [r[2] for r in rows])
        order = np.argsort(-found.score, kind="stable")
        found, truth = found[order], [truth[i] for i in order]
        begin = time.thread_time()
        found = tracker(Frame(IMAGE, "made", n, n / scene.fps), found)
        outcome.ms += (time.thread_time() - begin) * 1e3 / len(frames)
        given = [int(i) for i in found.track_id if i > 0]
        outcome.shared += len(given) - len(set(given))
        numbers |= set(given)
        for i, number in zip(truth, found.track_id, strict=True):
            if i < 0:
                continue
            sights[i] += 1
            if number > 0:
                own[i].append(int(number))
            elif own[i] or sights[i] >= 3:
                outcome.late += 1
    outcome.objects, outcome.numbers = len(own), len(numbers)
    outcome.switches = sum(a != b for ids in own.values() for a, b in pairwise(ids))
    outcome.exact = int(outcome.objects == outcome.numbers and not outcome.switches and not outcome.shared)
    return outcome


def walkers(n: int = 4, speed: float = 100, wh=(60, 150), **more) -> list[Thing]:
    """People who walk from left to right or back on lanes of their own."""
    lanes = np.linspace(100, 620, n)
    return [
        Thing(0, wh, (640 - s * min(speed * 4, 550), y), (s * speed, 0), **more)
        for y, s in zip(lanes, [1, -1] * n, strict=False)
    ]


def crossing(gap: float, speed: float = 120) -> list[Thing]:
    """Two who meet and pass each other, `gap` pixels apart across."""
    return [
        Thing(0, (60, 150), (340, 360), (speed, 0)),
        Thing(0, (60, 150), (940, 360 + gap), (-speed, 0)),
    ]


def pushed(speed: float = 80) -> list[Thing]:
    """A person with a bicycle, twice."""
    return [
        Thing(0, (70, 170), (150, 300), (speed, 0)), Thing(1, (150, 100), (190, 340), (speed, 0)),
        Thing(0, (70, 170), (1100, 500), (-speed, 0)), Thing(1, (150, 100), (1060, 530), (-speed, 0)),
    ]  # fmt: skip


def passers(n: int = 12) -> list[Thing]:
    """One after another enters on one side and leaves on the other."""
    return [
        Thing(
            0, (60, 150), (-20 if i % 2 == 0 else 1300, 150 + 90 * (i % 6)), (220 if i % 2 == 0 else -220, 0), i * 0.7
        )
        for i in range(n)
    ]


def crowd(n: int = 50) -> list[Thing]:
    random = np.random.default_rng(5)
    return [
        Thing(0, (40, 40), (80 + 125 * (i % 10), 80 + 135 * (i // 10)), tuple(random.uniform(-4, 4, 2)), turns=10)
        for i in range(n)
    ]


def scenes() -> list[Scene]:
    hidden = [Scene(f"hidden {s:g} s", walkers(hidden=((3, 3 + s),))) for s in (0.5, 1, 2)]
    hidden += [Scene(f"fast, hidden {s:g} s", walkers(speed=200, hidden=((1.5, 1.5 + s),)), 5) for s in (0.5, 1, 2)]
    swaying = [Scene(f"swaying, hidden {s:g} s", walkers(turns=40, hidden=((3, 3 + s),))) for s in (1, 2)]
    still = [Scene("standing, hidden 2 s", walkers(speed=0, hidden=((3, 5), (7, 9))))]
    rates = [Scene(f"{f:g} fps", walkers(), fps=f, missed=0.1) for f in (5, 15, 30, 60)]
    rates += [Scene(f"{f:g} fps, hidden 2 s", walkers(hidden=((3, 5),)), fps=f) for f in (5, 15, 60)]
    rates += [Scene(f"5 fps, {v} px/s, small", walkers(speed=v, wh=(50, 50)), 4, fps=5) for v in (100, 200, 270)]
    every = [Scene(f"every {n}", walkers(hidden=((4, 5.5),)), every=n, missed=0.1) for n in (1, 3, 5)]
    missed = [Scene(f"{round(m * 100)} % missed", walkers(), missed=m) for m in (0.1, 0.2, 0.3)]
    jitter = [Scene(f"jitter {round(j * 100)} %", walkers(), jitter=j, missed=0.1) for j in (0.05, 0.1)]
    renamed = [replace(t, other_name=2) for t in walkers()]
    names = [Scene(f"other name {round(f * 100)} %", renamed, flicker=f, missed=0.1) for f in (0.1, 0.3, 0.5)]
    names += [Scene(f"both names {round(f * 100)} %", renamed, double=f) for f in (0.1, 0.3)]
    bikes = [Scene("person and bicycle", pushed()), Scene("person and bicycle, 20 % missed", pushed(), missed=0.2)]
    bikes += [Scene("person and bicycle, hidden 1 s", [replace(t, hidden=((4, 5),)) for t in pushed()], missed=0.1)]
    cross = [Scene(f"crossing {g} px apart", crossing(g), 6) for g in (0, 20, 60, 120)]
    cross += [
        Scene("crossing, 10 fps", crossing(40), 6, fps=10),
        Scene("crossing, missed", crossing(40), 6, missed=0.2),
    ]
    walls = [
        Scene(f"wall of {w} px", walkers(speed=120), 9, walls=[(580, 580 + w)], missed=0.05) for w in (70, 150, 250)
    ]
    rest = [
        Scene("entering and leaving", passers(), 14),
        Scene("entering and leaving, 20 % missed", passers(), 14, missed=0.2),
        Scene("slow pan", walkers(speed=60), pan=30, missed=0.1),
        Scene("false ones", walkers(), false=0.5),
        Scene("50 objects", crowd(), missed=0.1),
    ]
    return [*hidden, *swaying, *still, *rates, *every, *missed, *jitter, *names, *bikes, *cross, *walls, *rest]


class ByteTrack:
    """The ByteTrack of the library `trackers`, one for all classes, two seconds of memory."""

    def __init__(self, rate: float) -> None:
        from trackers import ByteTrackTracker

        self._tracker = ByteTrackTracker(
            lost_track_buffer=60, frame_rate=rate, track_activation_threshold=0, high_conf_det_threshold=0
        )

    def __call__(self, _frame: Frame, found: Detections) -> Detections:
        import supervision

        rows = np.arange(len(found))
        boxes = supervision.Detections(xyxy=found.xyxy, confidence=found.score, class_id=rows)
        tracked = self._tracker.update(boxes)
        numbers = np.full(len(found), -1)
        if len(tracked):
            numbers[tracked.class_id] = np.where(tracked.tracker_id < 0, -1, tracked.tracker_id + 1)
        return replace(found, track_id=numbers)


def row(scene: Scene, runs: int, make: Callable[[float], Callable[[Frame, Detections], Detections]]) -> list[str]:
    outcomes = [judge(scene, seed, make) for seed in range(runs)]
    names = ("objects", "numbers", "switches", "shared", "late")
    exact, *total = [sum(getattr(o, name) for o in outcomes) for name in ("exact", *names)]
    return [f"{exact} of {runs}", *map(str, total), f"{sum(o.ms for o in outcomes) / runs:.2f}"]


def clip() -> None:
    """Objects cut out of the samples move over a background of their own; yolov3-tiny detects them."""
    import cv2

    from cvdetect import Detector

    samples = Path(__file__).resolve().parent.parent / "samples"
    detector = Detector.load("yolov3-tiny", DetectOptions(conf=0.2))
    dog = cv2.imread(str(samples / "dog.jpg"))[205:535, 115:390]
    person = cv2.imread(str(samples / "person.jpg"))[80:400, 170:300]
    parts = [(dog, 20, 380, 90, (0, 0)), (person, 1100, 60, -80, (3, 4.5)), (dog[:, ::-1], 600, 30, 40, (5, 6.5))]
    for fps, every in ((30, 1), (30, 3), (10, 1)):
        controls = Controls()
        controls.min_score = 0.4
        tracker, numbers, boxes = Tracker(fps / every, controls), set(), 0
        for n in range(0, 8 * fps, every):
            t = n / fps
            image = np.full((720, 1280, 3), (120, 140, 130), np.uint8)
            for part, x, y, speed, (begin, end) in parts:
                h, w = part.shape[:2]
                left = int(x + speed * t)
                if not begin <= t < end and 0 <= left < 1280 - w:
                    image[y : y + h, left : left + w] = part
            found = tracker(Frame(image, "clip", n, t), detector.detect(image))
            shown = found[found.score >= np.float32(0.4)]
            boxes += len(shown)
            numbers |= {int(i) for i in shown.track_id if i > 0}
        print(f"clip at {fps} fps, every {every}: {len(parts)} objects, {boxes} detections, numbers {sorted(numbers)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--clip", action="store_true")
    options = parser.parse_args()
    if options.clip:
        clip()
        return
    names = "scene, exact, objects, numbers, switches, shared, without, ms, ByteTrack: exact, numbers, switches".split(
        ", "
    )
    print(f"| {' | '.join(names)} |\n{'| --- ' * len(names)}|")
    for scene in scenes():
        ours = row(scene, options.runs, Tracker)
        other = row(scene, options.runs, ByteTrack) if find_spec("trackers") else ["-"] * 7
        print(f"| {' | '.join([scene.name, *ours, other[0], *other[2:4]])} |", flush=True)


if __name__ == "__main__":
    main()
