"""Videos are read and written as viewers show them: colours, pixel shape, turning and mirroring, HDR."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Image
from cvdetect.core.labels import LabelSet
from cvdetect.core.progress import NullProgress
from cvdetect.media.reader import AvReader
from cvdetect.media.tone import tone_map
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.render import Renderer
from cvdetect.sinks.video import VideoFile

RGB = np.array([200.0, 80.0, 30.0])
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb (ITU-T H.273)


def coded(rgb: np.ndarray, matrix: int, full: bool, bits: int = 8) -> np.ndarray:
    """RGB 0 to 255 → Y, Cb, Cr by the equations of H.273, 8.3."""
    kr, kb = LUMA[matrix]
    r, g, b = rgb / 255
    y = kr * r + (1 - kr - kb) * g + kb * b
    parts = np.array([y, (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))])
    if full:
        return np.round((parts + np.array([0, 0.5, 0.5])) * ((1 << bits) - 1))
    return np.round((parts * np.array([219, 224, 224]) + np.array([16, 128, 128])) * (1 << (bits - 8)))


def decoded(yuv: np.ndarray, matrix: int, full: bool) -> np.ndarray:
    kr, kb = LUMA[matrix]
    y, cb, cr = (yuv - [0, 127.5, 127.5]) / 255 if full else (yuv - [16, 128, 128]) / [219, 224, 224]
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.clip(np.array([r, (y - kr * r - kb * b) / (1 - kr - kb), b]) * 255, 0, 255)


def make(
    path: Path,
    planes: np.ndarray,
    wh: tuple[int, int] = (64, 48),
    *,
    tags: tuple[int, int, int] = (2, 2, 2),
    full: int = 0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    shape: Fraction | None = None,
    **options: str,
) -> Path:
    """A clip of three frames of one colour, given as Y, Cb, Cr."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *wh, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = tags
        context.color_range = full
        if shape:
            stream.sample_aspect_ratio = shape
        for index in range(3):
            frame = av.VideoFrame(*wh, pix_fmt)
            frame.colorspace, frame.color_primaries, frame.color_trc = tags
            frame.color_range = full
            for plane, value in zip(frame.planes, planes, strict=True):
                word = np.uint8 if pix_fmt.endswith("p") else np.dtype("<u2")
                plane.update(np.full(plane.buffer_size // np.dtype(word).itemsize, value, word).tobytes())
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def first(path: Path) -> Image:
    with AvReader(str(path)) as reader:
        return next(iter(reader)).image


def assert_colour(image: Image, rgb: np.ndarray, within: float = 3) -> None:
    mean = image.reshape(-1, 3).mean(0)[::-1]
    assert np.abs(mean - rgb).max() <= within, f"{mean} is not {rgb}"


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "primaries"), [(1, 1), (5, 5), (6, 6), (9, 9)])
def test_matrix_and_range_are_those_that_the_video_states(
    tmp_path: Path, matrix: int, primaries: int, full: bool
) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, matrix, full), tags=(matrix, primaries, 1), full=2 if full else 1)
    assert_colour(first(clip), RGB)


def test_unstated_colours_are_bt709_for_hd_and_bt601_for_sd_as_in_players(tmp_path: Path) -> None:
    assert_colour(first(make(tmp_path / "hd.mp4", coded(RGB, 1, False), (1280, 720))), RGB)
    assert_colour(first(make(tmp_path / "sd.mp4", coded(RGB, 5, False), (640, 360))), RGB)


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"])
def test_other_samplings_and_depths_have_the_same_colours(tmp_path: Path, pix_fmt: str) -> None:
    planes = coded(RGB, 1, False, 10 if "10" in pix_fmt else 8)
    clip = make(tmp_path / "a.mkv", planes, codec="ffv1", pix_fmt=pix_fmt, tags=(1, 1, 1), full=1)
    assert_colour(first(clip), RGB)


def copied(source: Path, out: Path, codec: str | None = None) -> tuple[Image, Path]:
    """A video of the source's frames, undrawn, and its first frame in square pixels."""
    renderer = Renderer(LabelSet(("a",), None), DrawStyle())
    with AvReader(str(source)) as reader:
        file = VideoFile(out, renderer, reader.info.rate, codec, look=reader.info.look, progress=NullProgress())
        with file:
            frames = list(reader)
            for frame in frames:
                file.write(frame, Detections.empty())
    return frames[0].image, out


OUTPUTS = [(".mp4", "H264"), (".mp4", "H265"), (".webm", "VP90"), (".webm", "VP80"), (".mkv", "AV01"), (".mp4", "MP4V"),
           (".mov", "H264"), (".mkv", "MJPG"), (".avi", "MJPG"), (".mkv", "FFV1")]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec"), OUTPUTS)
def test_a_copy_states_the_colours_that_it_is_written_with(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 1, False), (320, 240), tags=(1, 1, 1), full=1)
    _, out = copied(clip, tmp_path / f"o{suffix}", codec)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        if codec == "FFV1":  # stored as RGB
            assert_colour(frame.to_ndarray(format="bgr24"), RGB)
            return
        means = np.array([np.frombuffer(plane, np.uint8)[: frame.width // 2].mean() for plane in frame.planes])
        matrix, full = frame.colorspace, frame.color_range == 2
    expected = {"MJPG": (5, True), "VP80": (matrix, False)}.get(codec, (1, False))
    assert (matrix, full) == expected
    shown = decoded(means, 5 if codec == "VP80" else matrix, full)
    assert np.abs(shown - RGB).max() <= 5, shown


def test_full_range_and_bt2020_are_kept(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 9, True), tags=(9, 9, 14), full=2)
    _, out = copied(clip, tmp_path / "o.mp4")
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (9, 9, 14, 2)
    assert_colour(first(out), RGB, within=3 if hasattr(Interpolation, "ACCURATE_RND") else 9)


@pytest.mark.parametrize(
    ("suffix", "codec", "matrix"), [(".avi", "XVID", 5), (".avi", "WMV2", 5), (".ts", "XVID", 5), (".mov", "MP4V", 9)]
)
def test_where_colours_or_range_cannot_be_stated_they_are_the_usual_ones(
    tmp_path: Path, suffix: str, codec: str, matrix: int
) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 9, True), (320, 240), tags=(9, 9, 14), full=2)
    _, out = copied(clip, tmp_path / f"o{suffix}", codec)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        means = np.array([np.frombuffer(plane, np.uint8)[: frame.width // 2].mean() for plane in frame.planes])
    assert np.abs(decoded(means, matrix, full=False) - RGB).max() <= 9
    assert_colour(first(out), RGB, within=9)


def test_a_transport_stream_of_a_few_packets_is_written(tmp_path: Path) -> None:
    _, out = copied(make(tmp_path / "a.mp4", coded(RGB, 5, False)), tmp_path / "o.ts", "XVID")
    assert out.stat().st_size > 0


def test_encoders_are_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 1, False), (320, 240))
    copied(clip, tmp_path / "o.mkv", "AV01")
    assert capfd.readouterr() == ("", "")


def test_a_copy_of_a_video_with_colours_of_its_own_has_their_means(tmp_path: Path, shared: Path) -> None:
    clip = shared / "data" / "cases" / "media" / "c_hd709.mp4"
    _, out = copied(clip, tmp_path / "o.mp4")
    means = []
    for path in (clip, out):
        with av.open(str(path)) as container:
            means.append(next(container.decode(video=0)).to_ndarray(format="bgr24").mean((0, 1)))
    assert np.abs(means[0] - means[1]).max() < 3


@pytest.mark.parametrize(
    ("shape", "wh"), [(Fraction(16, 9), (114, 48)), (Fraction(9, 16), (64, 85)), (Fraction(12, 11), (70, 48))]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".webm"])
def test_frames_have_square_pixels_and_a_copy_the_shape_of_the_source(
    tmp_path: Path, shape: Fraction, wh: tuple[int, int], suffix: str
) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 5, False), shape=shape)
    shown, out = copied(clip, tmp_path / f"o{suffix}")
    assert shown.shape[1::-1] == wh
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        stored = (stream.width, stream.height, stream.sample_aspect_ratio)
    if suffix == ".webm":  # has no place for it that PyAV fills: stored as it is shown
        assert stored[2] in (None, 1) and abs(stored[0] / stored[1] - wh[0] / wh[1]) < 0.05
    else:
        assert stored == (64, 48, shape)
    assert first(out).shape == shown.shape or suffix == ".webm"


CORNERS = np.array([[20, 90], [160, 230]], np.uint8)
MATRICES = {
    (1, 0, 0, 1): lambda a: a,
    (-1, 0, 0, 1): lambda a: a[:, ::-1],
    (1, 0, 0, -1): lambda a: a[::-1],
    (-1, 0, 0, -1): lambda a: a[::-1, ::-1],
    (0, 1, 1, 0): lambda a: a.T,
    (0, 1, -1, 0): lambda a: np.rot90(a, -1),
    (0, -1, 1, 0): lambda a: np.rot90(a, 1),
    (0, -1, -1, 0): lambda a: np.rot90(a.T, 2),
}


def turned(path: Path, matrix: tuple[float, ...]) -> Path:
    """A clip of four grey quarters whose track header (ISO/IEC 14496-12, 8.3.2) asks to be shown by `matrix`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        grey = np.repeat(np.repeat(CORNERS, 32, 0), 48, 1)
        frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, 2), format="bgr24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (round(v * 65536) for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_each_of_the_eight_display_matrices_is_undone(tmp_path: Path, matrix: tuple[int, ...], suffix: str) -> None:
    image = first(turned(tmp_path / f"a{suffix}", matrix))
    height, width = image.shape[0] // 4, image.shape[1] // 4
    seen = image[height :: 2 * height, width :: 2 * width, 1]
    assert np.abs(seen.astype(int) - MATRICES[matrix](CORNERS)).max() < 8


def test_a_matrix_of_another_angle_is_reported(tmp_path: Path) -> None:
    with AvReader(str(turned(tmp_path / "a.mp4", (0.866, 0.5, -0.5, 0.866)))) as reader:
        remark = "is to be rotated by an angle that is not a multiple of 90°; it is shown 30° off"
        assert reader.info.remarks == (remark,)


def test_an_interlaced_video_is_reported(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 5, False), flags="+ildct+ilme", x264opts="tff=1")
    with AvReader(str(clip)) as reader:
        assert len(reader.info.remarks) == 1 and reader.info.remarks[0].startswith("is interlaced")


def pq(light: float) -> float:
    """Light in cd/m² → its code in SMPTE ST 2084, 0 to 1."""
    power = (light / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def test_tone_mapping_keeps_black_and_greys_and_brings_the_peak_to_white() -> None:
    lights = np.array([0.0, 5.0, 50.0, 203.0, 400.0, 1000.0, 4000.0])
    shown = tone_map(np.repeat(np.array([pq(x) for x in lights])[:, None], 3, 1))
    assert np.ptp(shown, axis=1).max() < 2e-3, "greys stay grey"
    values = shown[:, 1]
    assert np.all(np.diff(values[:6]) > 0) and values[0] < 0.01 and values[5] > 0.995 and values[6] > 0.995
    assert abs(values[2] - (50 / 203) ** (1 / 2.4)) < 0.02, "below the knee it is the light itself"
    assert 0.85 < values[3] < 0.99, "there is room above diffuse white"
    hlg = tone_map(np.repeat(np.array([[0.0], [0.38], [0.75], [1.0]]), 3, 1), hlg=True)[:, 1]
    assert np.all(np.diff(hlg) > 0) and hlg[0] < 0.01 and hlg[3] > 0.995
    assert abs(hlg[2] - values[3]) < 0.02, "HLG's 75 % is diffuse white, 203 cd/m² (BT.2408)"


@pytest.mark.parametrize(("transfer", "name", "code"), [(16, "PQ", pq(100.0)), (18, "HLG", 0.6)])
def test_an_hdr_video_is_tone_mapped_reported_and_written_as_sdr(
    tmp_path: Path, transfer: int, name: str, code: float
) -> None:
    planes = np.round(np.array([code * 219 + 16, 128, 128]) * 4)
    clip = make(tmp_path / "a.mkv", planes, codec="ffv1", pix_fmt="yuv420p10le", tags=(9, 9, transfer), full=1)
    with AvReader(str(clip)) as reader:
        assert len(reader.info.remarks) == 1 and f"HDR ({name})" in reader.info.remarks[0]
        image = next(iter(reader)).image
    assert_colour(image, tone_map(np.full((1, 3), code), name == "HLG")[0] * 255)
    _, out = copied(clip, tmp_path / "o.mp4")
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)


def test_an_hdr_clip_looks_like_the_image_that_it_was_made_of(shared: Path, samples: Path) -> None:
    from cvdetect.sources.images import read_image

    shown, picture = first(shared / "data/cases/media/hdr_smpte2084.mp4"), read_image(samples / "dog.jpg")
    assert np.abs(shown.mean((0, 1)) - picture.mean((0, 1))).max() < 12


def test_a_transparent_video_is_reported_and_an_opaque_one_is_not(tmp_path: Path) -> None:
    for alpha, told in ((255, 0), (100, 1)):
        planes = np.array([*coded(RGB, 5, False), alpha])
        clip = make(tmp_path / "a.mkv", planes, codec="ffv1", pix_fmt="yuva444p")
        with AvReader(str(clip)) as reader:
            assert len(reader.info.remarks) == told
