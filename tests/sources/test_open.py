"""One function opens whatever gives frames."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.frame import Frame
from cvdetect.sources import Failed
from cvdetect.sources.addresses import is_live
from cvdetect.sources.camera import Camera
from cvdetect.sources.images import Images
from cvdetect.sources.open import open_source
from cvdetect.sources.video import Video


@pytest.fixture
def photos(tmp_path: Path, samples: Path) -> Path:
    """Three images, numbered."""
    for number in range(3):
        shutil.copy(samples / "dog.jpg", tmp_path / f"f{number}.jpg")
    return tmp_path


def test_an_image_a_list_and_a_pattern_are_still_images(photos: Path) -> None:
    (photos / "list.txt").write_text(f"{photos / 'f0.jpg'}\n{photos / 'f2.jpg'}\n")
    sources = {
        photos / "f0.jpg": 1,
        str(photos / "f0.jpg"): 1,
        (photos / "f0.jpg", str(photos / "f1.jpg")): 2,
        str(photos / "*.jpg"): 3,
        f"@{photos / 'list.txt'}": 2,
    }
    for source, count in sources.items():
        with open_source(source) as images:
            assert isinstance(images, Images) and images.info is None
            frames = list(images)
        assert [frame.index for frame in frames] == list(range(count))
        assert all(frame.time_s is None for frame in frames)


def test_a_video_and_a_numbered_pattern_have_times(photos: Path, samples: Path) -> None:
    with open_source(str(photos / "f%d.jpg")) as sequence:
        assert isinstance(sequence, Video) and sequence.info.rate == 25
        assert [frame.time_s for frame in sequence] == pytest.approx([0, 0.04, 0.08])
    with open_source(samples / "street.mp4", start=1, end=1.1) as video:
        assert video.info is not None and video.info.wh == (640, 480)
        assert [frame.index for frame in video] == [30, 31, 32]


def test_a_number_is_a_camera() -> None:
    camera = open_source(99, timeout=1)
    assert isinstance(camera, Camera)
    with pytest.raises(SourceError, match=r"camera 99: "), camera:
        pass


@pytest.mark.parametrize(
    ("address", "live"),
    [
        ("rtsp://camera/1", True),
        ("udp://@:1234", True),
        ("http://camera:8080/stream?channel=1", True),
        ("http://camera/video.mjpg", True),
        ("https://host/clip.mp4?token=1", False),
        ("https://host/live.m3u8", False),
        ("file:///clip", False),
        ("rtsp.mp4", False),
    ],
)
def test_which_addresses_are_live(address: str, live: bool) -> None:
    assert is_live(address) is live
    if live:
        assert isinstance(open_source(address), Camera)


def test_going_through_raises_and_items_go_on(photos: Path) -> None:
    (photos / "f1.jpg").write_bytes(b"")
    names = [photos / f"f{number}.jpg" for number in range(3)]
    with pytest.raises(SourceError, match="is empty"), open_source(names) as images:
        list(images)
    with open_source(names) as images:
        kinds = [type(item) for item in images.items()]
    assert kinds == [Frame, Failed, Frame]


def test_a_video_that_is_cut_short_raises_behind_its_last_frame(photos: Path) -> None:
    (photos / "f2.jpg").write_bytes(b"")
    with open_source(str(photos / "f%d.jpg")) as video:
        frames = iter(video)
        assert [next(frames).index for _ in range(2)] == [0, 1]
        with pytest.raises(SourceError, match="1 of 3 images could not be read"):
            next(frames)


def test_what_cannot_be_opened_is_reported_before_anything_is_read(photos: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        open_source(photos / "none.mp4")
    with pytest.raises(SourceNotFound, match="no file matches"):
        open_source(str(photos / "none%d.png"))
    with pytest.raises(SourceError, match="is a folder, expected a video"):
        open_source(photos)
    with pytest.raises(UsageError, match="start and end"):
        open_source(photos / "f0.jpg", start=1)
    with pytest.raises(UsageError, match="no input"):
        open_source([])
