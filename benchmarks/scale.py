"""What a hundred million images cost on 1, 10 and 100 machines: the tables of docs/scale.md, from measured figures.

Nothing is measured here. Each figure states where it comes from; change one, and the tables follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["FIGURES", "Figures", "tables"]

MACHINES = (1, 10, 100)
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one image costs: microseconds of one core, unless stated otherwise."""

    pictures: int = 100_000_000
    cores: int = 32  # of a machine, each as fast as those that were measured
    local_per_core_s: float = 18.2  # images a core-second of the local engine: 36.5 a second on 2 cores
    ray_over_local: float = 1.01  # time of detecting; benchmarks/ray_engine.py
    listing: float = 19.0  # walk, look and row; benchmarks/README.md
    handing_out: float = 1.5  # this and the next three: benchmarks/ray_driver.py
    receiving: float = 9.7
    recording: float = 21.0
    chunk: Mapping[int, float] = field(default_factory=lambda: {1: 550, 10: 810, 100: 3800})  # by a driver's machines
    chunk_pictures: int = 55  # three seconds of one core
    export_quick: float = 40.0  # 100,000 images take 4 s in the quickest format; benchmarks/README.md
    export_slow: float = 140.0  # and 14 s in the slowest
    manifest_bytes: int = 255  # five objects an image; benchmarks/ray_driver.py
    picture_bytes: int = 161_000  # the mean of COCO's, 640 pixels wide
    price: float = 1.0  # of a machine-hour, in whatever currency: an assumption
    # In an object store; all but the last three from benchmarks/cloud.py: our own processor time, without waiting.
    store_list: float = 60.0  # an object listed
    store_get: float = 1580.0  # an image fetched
    store_put: float = 1750.0  # a file put
    log: float = 21.0  # what recording in parts costs beyond SQLite
    read_back: float = 21.0  # a row of the log, on --resume
    log_bytes: int = 519  # ten detections an image
    page: int = 1000  # objects a request lists, and rows a part has
    price_get: float = 0.4  # of a million requests, an assumption: what large stores ask
    price_put: float = 5.0  # likewise, listing too

    def driver(self, machines: int) -> float:
        """Microseconds of a driver with so many machines for one image, while they detect."""
        return self.handing_out + self.receiving + self.recording + self.chunk[machines] / self.chunk_pictures


FIGURES = Figures()


@dataclass(frozen=True, slots=True)
class _Run:
    """A whole run on so many machines, with `drivers` runs side by side that share the images."""

    figures: Figures
    machines: int
    drivers: int = 1

    @property
    def workers_rate(self) -> float:
        """Images a second that the workers' cores do."""
        per_core = self.figures.local_per_core_s / self.figures.ray_over_local
        return self.machines * self.figures.cores * per_core

    @property
    def driver_rate(self) -> float:
        """Images a second that the drivers do."""
        return self.drivers * 1e6 / self.figures.driver(self.machines // self.drivers)

    @property
    def rate(self) -> float:
        """What the slower side lets through."""
        return min(self.workers_rate, self.driver_rate)

    def alone(self, each: float) -> float:
        """Hours of something that every driver does for its own share, `each` microseconds an image."""
        return self.figures.pictures / self.drivers * each / 1e6 / HOUR

    @property
    def listing(self) -> float:
        return self.alone(self.figures.listing)

    @property
    def detecting(self) -> float:
        return self.figures.pictures / self.rate / HOUR

    @property
    def writing(self) -> float:
        return self.alone(self.figures.export_slow)

    @property
    def bound(self) -> str:
        """Which side is the slower one while detecting."""
        return "network" if self.workers_rate <= self.driver_rate else "driver"

    @property
    def machine_hours(self) -> float:
        """All machines while detecting; one for each driver before and after."""
        return self.machines * self.detecting + min(self.drivers, self.machines) * (self.listing + self.writing)

    @property
    def bandwidth(self) -> float:
        """GB a second that the shared disk has to give."""
        return self.rate * self.figures.picture_bytes / 1e9


def tables(figures: Figures = FIGURES) -> str:
    """The page's tables in Markdown."""
    parts = (_costs(figures), _times(figures), _sizes(figures), _store(figures))
    return "\n\n".join("\n".join(part) for part in parts)


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _costs(f: Figures) -> Iterator[str]:
    total = f.pictures / 1e6 / HOUR
    yield _row("for one image", "µs of one core", f"core-hours for {f.pictures:,}", "spread over")
    yield _row("---", "---", "---", "---")
    network = 1e6 / f.local_per_core_s * f.ray_over_local
    for name, each, where in (
        ("read, detect (workers)", network, "all cores"),
        ("list", f.listing, "the driver"),
        *((f"hand out, receive, record: {m * f.cores:,} workers", f.driver(m), "the driver") for m in MACHINES),
        ("write, quickest format", f.export_quick, "the driver"),
        ("write, slowest format", f.export_slow, "the driver"),
    ):
        yield _row(name, f"{each:,.0f}", f"{each * total:,.1f}", where)


def _times(f: Figures) -> Iterator[str]:
    yield _row(
        "machines", "runs", "list", "detect", "bound by", "write (slowest)", "hours in all", "machine-hours",
        f"at {f.price:.2f} each", "read, GB/s",
    )  # fmt: skip
    yield _row(*["---"] * 10)
    for machines in MACHINES:
        for drivers in dict.fromkeys((1, machines)):
            run = _Run(f, machines, drivers)
            whole = run.listing + run.detecting + run.writing
            hours = (run.listing, run.detecting, run.bound, run.writing, whole)
            shown = [h if isinstance(h, str) else f"{h:.2f} h" for h in hours]
            yield _row(
                machines, drivers, *shown, f"{run.machine_hours:,.0f}", f"{run.machine_hours * f.price:,.0f}",
                f"{run.bandwidth:.2f}",
            )  # fmt: skip


def _sizes(f: Figures) -> Iterator[str]:
    yield _row("what", f"for {f.pictures:,}")
    yield _row("---", "---")
    yield _row("manifest", f"{f.pictures * f.manifest_bytes / 1e9:,.1f} GB")
    yield _row("images", f"{f.pictures * f.picture_bytes / 1e12:,.1f} TB")
    for machines in MACHINES:
        cores = 1e6 / f.driver(machines) / (f.local_per_core_s / f.ray_over_local)
        yield _row(f"workers that one driver can feed, at what {machines * f.cores:,} cost it", f"{cores:,.0f}")


def _store(f: Figures) -> Iterator[str]:
    yield _row("for one image", "µs of one core", f"core-hours for {f.pictures:,}", "who", "requests", "their price")
    yield _row(*["---"] * 6)
    for name, each, who, requests, million in (
        ("list", f.store_list, "the driver", f.pictures // f.page, f.price_put),
        ("fetch", f.store_get, "all cores", f.pictures, f.price_get),
        ("record in parts, beyond SQLite", f.log, "the driver", f.pictures // f.page, f.price_put),
        ("put a copy of it", f.store_put, "all cores", f.pictures, f.price_put),
        ("put a label file of its own (voc, yolo)", f.store_put, "the driver", f.pictures, f.price_put),
        ("read back (`--resume`)", f.read_back, "the driver", f.pictures // f.page, f.price_get),
    ):
        hours, cost = each * f.pictures / 1e6 / HOUR, requests / 1e6 * million
        yield _row(name, f"{each:,.0f}", f"{hours:,.1f}", who, f"{requests:,}", f"{cost:,.2f}")


if __name__ == "__main__":
    print(tables())
