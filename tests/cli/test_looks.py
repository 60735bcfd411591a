"""What users have in their folders: images of every kind, videos with pixels of every shape."""

from __future__ import annotations

import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pil
from PIL import ImageCms, ImageOps

from tests.conftest import Cli


@pytest.fixture
def mixed(cli: Cli, samples: Path) -> Path:
    """A folder of images of many kinds, of files that are none, and of images that cannot be read."""
    folder = Path("mixed")
    folder.mkdir()
    dog = cv2.imread(str(samples / "dog.jpg"))
    for name in ("plain.jpg", "download.jfif", "nosuffix"):
        shutil.copy(samples / "dog.jpg", folder / name)
    (folder / "wrong.jpg").write_bytes(cv2.imencode(".png", dog)[1].tobytes())
    cv2.imwrite(str(folder / "twelve.png"), dog.astype(np.uint16) * 16)
    Pil.fromarray(dog[:, :, ::-1]).save(folder / "targa.tga")
    for name, data in (("a.txt", b"x"), ("b.txt", b"y"), ("c.json", b"{}"), ("README", b"z"), ("v.mp4", b"v")):
        (folder / name).write_bytes(data)
    for name, data in (("x.jxl", b"\xff\x0a" + bytes(99)), ("x.nef", b"MM\0*" + bytes(99)), ("t.jpg", b"hello\n")):
        (folder / name).write_bytes(data)
    return folder


def test_annotate_reads_every_image_and_counts_the_rest(cli: Cli, xl: list[str], mixed: Path) -> None:
    done = cli("annotate", mixed, "--out", "out", "--draw", "drawn", *xl)
    assert done.code == 1, done
    assert "ignored, as not images: 4 other files (.txt 2, no suffix 1, .json 1), 1 video (.mp4 1; " in done.err
    failed = {f["source"]: f["error"] for f in map(json.loads, Path("out/failures.jsonl").read_text().splitlines())}
    assert sorted(failed) == ["t.jpg", "x.jxl", "x.nef"]
    assert "JPEG XL" in failed["x.jxl"] and "raw file" in failed["x.nef"] and "plain text" in failed["t.jpg"]
    results = json.loads(Path("out/instances.json").read_text())
    names = {image["id"]: image["file_name"] for image in results["images"]}
    assert set(names.values()) == {"plain.jpg", "download.jfif", "nosuffix", "wrong.jpg", "twelve.png", "targa.tga"}
    found = {name: [] for name in names.values()}
    for annotation in results["annotations"]:
        found[names[annotation["image_id"]]].append(annotation["category_id"])
    assert all(ids == found["plain.jpg"] for ids in found.values()), "the same picture, the same objects"
    drawn = cv2.imread("drawn/twelve.png")
    assert drawn.dtype == np.uint8 and 80 < drawn.mean() < 160, "the copy is not black"


def test_an_animation_is_reported_and_its_first_frame_taken(cli: Cli, xl: list[str], samples: Path) -> None:
    with Pil.open(samples / "dog.jpg") as dog:
        dog.save("a.gif", save_all=True, append_images=[dog.rotate(90), dog.rotate(180)])
    done = cli("image", "a.gif", *xl, "--no-save", "--json", "-")
    assert done.code == 0 and "a.gif: holds 3 frames: only the first one is used" in done.err
    assert "dog" in {d["label"] for d in json.loads(done.out)["detections"]}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_a_copy_is_upright_and_has_its_profile(cli: Cli, xl: list[str], samples: Path, suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Pil.Exif()
    exif[274], exif[271] = 6, "Cam"
    with Pil.open(samples / "dog.jpg") as dog:
        extra = {"tiffinfo": exif} if suffix == ".tiff" else {"exif": exif.tobytes()}
        dog.rotate(90, expand=True).save(f"a{suffix}", icc_profile=profile, **extra)
    done = cli("image", f"a{suffix}", *xl, "-o", f"o{suffix}", "--json", "-")
    assert done.code == 0 and (json.loads(done.out)["width"], json.loads(done.out)["height"]) == (768, 576)
    with Pil.open(f"o{suffix}") as shown:
        assert ImageOps.exif_transpose(shown).size == (768, 576)
        assert shown.info["icc_profile"] == profile and shown.getexif()[271] == "Cam"


def squeezed(path: Path, picture: np.ndarray, shape: Fraction) -> None:
    """A clip whose stored frames are narrower than they are shown."""
    width = round(picture.shape[1] / shape) // 2 * 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = width, picture.shape[0], "yuv420p"
        stream.sample_aspect_ratio = shape
        frame = av.VideoFrame.from_ndarray(cv2.resize(picture, (width, picture.shape[0])), format="bgr24")
        container.mux([*stream.encode(frame), *stream.encode(None)])


def test_boxes_of_a_squeezed_video_are_those_of_the_image_as_it_is_shown(
    cli: Cli, xl: list[str], samples: Path
) -> None:
    dog = cv2.imread(str(samples / "dog.jpg"))
    cv2.imwrite("a.png", dog)
    squeezed(Path("a.mp4"), dog, Fraction(2))
    done = [cli(*command, *xl, "--json", "-") for command in (("image", "a.png", "--no-save"), ("video", "a.mp4"))]
    assert [d.code for d in done] == [0, 0], done
    picture, frame = (json.loads(d.out.splitlines()[0]) for d in done)
    assert (frame["width"], frame["height"]) == (768, 576)
    boxes = [{d["label"]: d["box"] for d in record["detections"]} for record in (picture, frame)]
    assert boxes[0].keys() == boxes[1].keys() == {"dog", "bicycle", "car"}
    assert all(np.abs(np.subtract(boxes[0][label], boxes[1][label])).max() < 25 for label in boxes[0])


def test_the_video_of_a_squeezed_video_is_squeezed_the_same(cli: Cli, xl: list[str], samples: Path) -> None:
    squeezed(Path("a.mp4"), cv2.imread(str(samples / "dog.jpg")), Fraction(2))
    assert cli("video", "a.mp4", "--out", "o.mp4", *xl).code == 0
    with av.open("o.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (384, 576, 2)


def test_hdr_is_reported_in_a_line(cli: Cli, xl: list[str], shared: Path) -> None:
    done = cli("video", shared / "data/cases/media/hdr_smpte2084.mp4", "--out", "o.mp4", *xl)
    assert done.code == 0 and done.err.count("is HDR (PQ): it is tone-mapped") == 1


def test_a_heic_image_that_cannot_be_read_is_a_failure_with_a_hint(
    cli: Cli, xl: list[str], shared: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos").mkdir()
    shutil.copy(shared / "data/cases/media/a.heic", "photos/a.heic")
    shutil.copy(samples / "dog.jpg", "photos/b.jpg")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert cli("annotate", "photos", "--out", "out", *xl).code == 1
    assert "pip install 'cvdetect[heif]'" in Path("out/failures.jsonl").read_text()
