"""The review page, opened in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from cvdetect.annotations.types import ImageRecord
from cvdetect.core.labels import BUILT_IN
from cvdetect.jobs.annotate.job import AnnotateJob, ModelInfo
from cvdetect.jobs.annotate.review import write_review
from cvdetect.jobs.annotate.run import annotate
from tests.conftest import make_detections
from tests.jobs.annotate.conftest import FakeDetector, make_images

ABOUT = ModelInfo("fake <b>&", {}, BUILT_IN["coco80"](0))
NASTY = 'sub/it\'s "a"\n</script><!-- & %41 #é.png'


class Kept(list[ImageRecord]):
    """Records in a list."""

    def names(self) -> list[str]:
        return [record.name for record in self]


def record(name: str, *found: tuple[int, float]) -> ImageRecord:
    boxes = [[10.0 * i, 5.0, 10.0 * i + 8, 25.0] for i in range(len(found))]
    return ImageRecord(name, (100, 50), make_detections(boxes, [c for c, _ in found], [s for _, s in found]))


RECORDS = Kept([
    record("a/dog.jpg", (16, 0.9), (16, 0.55), (0, 0.31)),
    record("b/empty.jpg"),
    record("c/person.jpg", (0, 0.97)),
    record(NASTY, (2, 0.25)),
])  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
    if found is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("review") / "index.html"
    write_review(path, RECORDS, ABOUT)  # type: ignore[arg-type]
    return path


class Seen:
    """What a browser has made of a page."""

    def __init__(self, browser: str, page: Path, state: str = "", acts: str = "") -> None:
        if acts:  # a person's acts, after the page's own script
            text = page.read_text(encoding="utf-8")
            page = page.with_name("acted.html")
            page.write_text(text.replace("</body>", f"<script>{acts}</script></body>"), encoding="utf-8")
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
        url = f"{page.as_uri()}#{state}"
        done = subprocess.run([*words, url], capture_output=True, text=True, check=True, timeout=60)
        self.dom = done.stdout

    def text(self, element: str) -> str:
        found = re.search(rf'id="{element}"[^>]*>(.*?)</', self.dom, re.DOTALL)
        assert found, element
        return unescape(found[1])

    @property
    def names(self) -> list[str]:
        return [unescape(name) for name in re.findall(r'<span class="caption"><b title="(.*?)">', self.dom, re.DOTALL)]

    @property
    def boxes(self) -> int:
        grid = self.dom[self.dom.index('id="grid"') : self.dom.index('id="nothing"')]
        return len(re.findall("<rect", grid))

    @property
    def classes(self) -> dict[str, int]:
        return {name: int(n) for name, n in re.findall(r"<b>([^<]*)</b><span>(\d+)</span>", self.dom)}

    @property
    def histogram(self) -> dict[int, int]:
        counts = re.findall(r'data-count="(\d+)"', self.dom)
        return {i: int(n) for i, n in enumerate(counts) if n != "0"}


def test_all_detections_are_shown_counted_and_in_the_histogram(browser: str, page: Path) -> None:
    seen = Seen(browser, page, "show=all")
    assert seen.text("summary") == "4 images of 4, 5 detections"
    assert seen.text("model") == "fake <b>&"
    assert seen.names == [r.name for r in RECORDS]
    assert seen.boxes == 5
    assert seen.classes == {"dog": 2, "person": 2, "car": 1}
    assert seen.histogram == {5: 1, 6: 1, 11: 1, 18: 1, 19: 1}
    assert 'viewBox="0 0 100 50"' in seen.dom and '<rect x="10" y="5" width="8" height="20"' in seen.dom


def test_the_address_filters_and_orders(browser: str, page: Path) -> None:
    expected = {
        "": (["a/dog.jpg", "c/person.jpg", NASTY], 5),
        "class=dog": (["a/dog.jpg"], 2),
        "low=0.5&high=0.95": (["a/dog.jpg"], 2),
        "class=person&low=0.9": (["c/person.jpg"], 1),
        "off=0,1": ([NASTY], 1),
        "show=none": (["b/empty.jpg"], 0),
        "name=PERSON": (["c/person.jpg"], 1),
        "order=weakest": ([NASTY, "a/dog.jpg", "c/person.jpg"], 5),
        "order=most&show=all": (["a/dog.jpg", "c/person.jpg", NASTY, "b/empty.jpg"], 5),
        "name=nowhere": ([], 0),
    }
    acts = f"""
        const reported = {{}};
        for (const address of {json.dumps(list(expected))}) {{
            history.replaceState(null, "", "#" + address); readAddress(); show();
            const names = [...document.querySelectorAll(".caption b")].map((b) => b.title);
            reported[address] = [names, document.querySelectorAll("#grid rect").length, by("nothing").hidden];
        }}
        document.body.replaceChildren(make("pre", {{ id: "reported" }}, JSON.stringify(reported)));
    """
    reported = json.loads(Seen(browser, page, "", acts).text("reported"))
    for address, (names, detections) in expected.items():
        assert reported[address] == [names, detections, bool(names)], address


def test_sliders_classes_and_images_answer_to_a_person(browser: str, page: Path) -> None:
    acts = """
        by("low").value = 50; by("low").dispatchEvent(new Event("input"));
        document.querySelector('#classes input[value="1"]').click();
        document.querySelector("#grid button").click();
        by("forth").click();
    """
    seen = Seen(browser, page, "", acts)
    assert seen.names == ["a/dog.jpg"], "persons are off, weak scores too"
    assert seen.classes == {"dog": 2, "person": 1, "car": 0}
    assert seen.text("range") == "0.50 to 1.00"
    assert seen.text("title") == "a/dog.jpg (100×50)"
    assert '<dialog id="large" open="">' in seen.dom


def test_thousands_of_images_come_in_pages_of_sixty(browser: str, tmp_path: Path) -> None:
    many = Kept([record(f"{i:05}.jpg", (i % 80, i % 100 / 100)) for i in range(20_000)])
    write_review(tmp_path / "index.html", many, ABOUT)  # type: ignore[arg-type]
    seen = Seen(browser, tmp_path / "index.html", "page=2")
    assert seen.text("summary") == "20,000 images of 20,000, 20,000 detections"
    assert seen.text("page") == "page 3 of 334"
    assert seen.names == [f"{i:05}.jpg" for i in range(120, 180)]


def test_an_empty_run_has_a_page_too(browser: str, tmp_path: Path) -> None:
    write_review(tmp_path / "index.html", Kept(), ABOUT)  # type: ignore[arg-type]
    assert Seen(browser, tmp_path / "index.html").text("summary") == "0 images of 0, 0 detections"


def test_the_page_asks_for_nothing_but_its_thumbnails_and_those_are_there(
    fake: FakeDetector, tmp_path: Path, browser: str
) -> None:
    names = ["a b/é.png", "it's#1%41.png", "x\ny.png", "\udcff.png"]
    photos = make_images(tmp_path / "photos", names)
    assert fake.seen == 0
    annotate(AnnotateJob(images=str(photos), out=tmp_path / "out", review=True))
    page = tmp_path / "out" / "review" / "index.html"
    data = json.loads(page.read_text().partition('id="data">')[2].partition("</script>")[0])
    for row in data["images"]:
        assert (page.parent / unquote(row[1], errors="surrogateescape")).is_file(), row
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page.read_text())
    # Loading, unlike decoding, is awaited in the browser's virtual time.
    acts = """
        const loaded = (i) => i.naturalWidth > 0 ? i : new Promise((yes, no) => { i.onload = yes; i.onerror = no; });
        Promise.all([...document.images].map((i) => { i.loading = "eager"; return loaded(i); }))
            .then(() => document.title = "all " + document.images.length + " loaded", () => document.title = "missing");
    """
    assert "<title>all 4 loaded</title>" in Seen(browser, page, "show=all", acts).dom


def test_scores_and_boxes_are_plain_numbers(tmp_path: Path) -> None:
    write_review(tmp_path / "p.html", Kept([record("a", (0, float(np.float32(1 / 3))))]), ABOUT)  # type: ignore[arg-type]
    text = (tmp_path / "p.html").read_text()
    assert '["a","thumbs/a.jpg",100,50,[0,0.3333,0.0,5.0,8.0,25.0]]' in text
