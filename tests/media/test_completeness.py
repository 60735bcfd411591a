"""A video counts as cut short when it is, and gives every frame that FFmpeg gives."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvdetect.core.frame import Frame
from cvdetect.media.completeness import index_at_end, missing_bytes
from cvdetect.media.reader import AvReader
from cvdetect.sources.video import Video
from tests.media.conftest import Make, through

PICTURE = ["-f", "lavfi", "-i", "testsrc=s=96x64:r=25:d=3", "-f", "lavfi", "-i", "sine=d=3"]
CUT = {
    "a.mp4": ["-c:v", "libx264", "-movflags", "faststart"],
    "a.mov": ["-c:v", "mjpeg", "-movflags", "faststart"],
    "frag.mp4": ["-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov", "-g", "25"],
    "a.mkv": ["-c:v", "libx264"],
    "a.webm": ["-c:v", "libvpx", "-auto-alt-ref", "1"],
    "a.avi": ["-c:v", "libx264", "-bf", "2"],
    "a.flv": ["-c:v", "libx264"],
    "a.wmv": ["-c:v", "wmv2"],
    "raw.avi": ["-c:v", "rawvideo", "-pix_fmt", "bgr24"],
    "dv.avi": ["-c:v", "dvvideo", "-s", "720x576", "-pix_fmt", "yuv420p"],
}


def counted(path: Path) -> int:
    """The frames that ffprobe decodes."""
    command = ["ffprobe", "-v", "quiet", "-count_frames", "-select_streams", "v:0"]
    shown = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    done = subprocess.run([*command, *shown, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0].strip(","))


def read(path: Path) -> tuple[int, str | None]:
    with Video(str(path)) as video:
        return sum(isinstance(item, Frame) for item in video.items()), video.cut


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_gives_all_there_is_and_is_reported(name: str, remux: Make, tmp_path: Path) -> None:
    whole = remux(name, *PICTURE, *CUT[name])
    assert read(whole) == (75, None)
    data = whole.read_bytes()
    for share in (0.55, 0.8, 0.93):
        part = tmp_path / f"cut{whole.suffix}"
        part.write_bytes(data[: int(len(data) * share)])
        frames, cut = read(part)
        assert frames == counted(part)
        assert cut is not None and cut.startswith("is cut short")


def test_a_track_that_ffmpeg_finds_on_the_way_is_no_error(remux: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV raises IndexError at the end of such a file; whether it does depends on what lies in its memory."""

    def all_packets(reader: AvReader) -> Iterator[object]:
        yield from reader._container.demux()
        raise IndexError("list index out of range")

    monkeypatch.setattr(AvReader, "_demux_all", all_packets)
    assert read(remux("a.flv", *PICTURE, "-c:v", "libx264")) == (75, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_longer_sound_and_other_tracks_are_whole(suffix: str, remux: Make, tmp_path: Path) -> None:
    source = remux(
        f"long{suffix}",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=96x64:r=25:d=1",
        "-f",
        "lavfi",
        "-i",
        "sine=d=6",
        "-c:v",
        "libx264",
    )
    passed = through(source, tmp_path / "out.mp4")
    assert (len(passed.frames), passed.cut) == (25, None)


def test_subtitles_are_whole_and_reported_as_left_out(remux: Make, tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,000 --> 00:00:30,000\nlong\n")
    source = remux("s.mkv", *PICTURE, "-i", tmp_path / "s.srt", "-c:v", "libx264")
    with Video(str(source)) as video:
        assert "1 subtitle track left out" in video.notes[0]
        assert sum(1 for _ in video) == 75 and video.cut is None


def test_a_cover_image_is_no_video(remux: Make, tmp_path: Path) -> None:
    cover = remux("cover.png", "-f", "lavfi", "-i", "testsrc=s=64x64:d=1", "-frames:v", "1")
    source = remux("c.mp4", *PICTURE, "-i", cover, "-map", "0", "-map", "1", "-map", "2", "-c:v:0", "libx264",
                   "-c:v:1", "png", "-disposition:v:1", "attached_pic")  # fmt: skip
    assert read(source) == (75, None)
    with Video(str(source)) as video:
        assert video.info.wh == (96, 64)


def test_live_and_growing_files_are_whole(remux: Make, tmp_path: Path) -> None:
    live = remux("live.mkv", *PICTURE, "-c:v", "libx264", "-live", "1")
    assert read(live) == (75, None)
    part = tmp_path / "growing.mkv"
    part.write_bytes(live.read_bytes()[:-3000])
    assert read(part)[1] is None


def test_an_mp4_without_its_index_is_reported_as_cut(remux: Make, tmp_path: Path) -> None:
    whole = remux("a.mp4", *PICTURE, "-c:v", "libx264").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"is cut short \(.* bytes are missing at its end\)"):
        Video(str(tmp_path / "cut.mp4")).__enter__()


def test_damage_in_the_middle_is_passed_over(remux: Make, tmp_path: Path) -> None:
    data = bytearray(remux("a.mkv", *PICTURE, "-c:v", "libx264", "-g", "10").read_bytes())
    at = len(data) // 2
    data[at : at + 60] = bytes(60)
    (tmp_path / "hurt.mkv").write_bytes(data)
    frames, cut = read(tmp_path / "hurt.mkv")
    assert frames == counted(tmp_path / "hurt.mkv") > 60 and not (cut or "").startswith("is cut short")


def piped(data: bytes) -> tuple[int, str | None]:
    """As `read`, through a pipe; `data` must fit into its buffer."""
    source, sink = os.pipe()
    try:
        os.write(sink, data)
        os.close(sink)
        return read(Path(f"/dev/fd/{source}"))
    finally:
        os.close(source)


def with_duration(flv: bytes, seconds: float) -> bytes:
    """An FLV file whose metadata state another duration: the number (AMF 0) behind its key."""
    before, key, after = flv.partition(b"\0\x08duration\0")
    return before + key + struct.pack(">d", seconds) + after[8:]


def test_a_length_that_no_clock_of_the_file_can_reach_is_none(remux: Make, tmp_path: Path) -> None:
    data = remux("a.flv", *PICTURE, "-c:v", "libx264").read_bytes()
    (tmp_path / "absurd.flv").write_bytes(with_duration(data, 107374182.4))
    with Video(str(tmp_path / "absurd.flv")) as video:
        assert video.info.frames is None
        assert (sum(1 for _ in video), video.cut) == (75, None)
    assert piped(with_duration(data, 107374182.4)) == (75, None)
    frames, cut = piped(with_duration(data, 60.0))
    assert frames == 75 and (cut or "").startswith("is cut short: it ends after 3.0 of 60.0 seconds")


def test_a_length_that_ffmpeg_estimates_by_the_bit_rate_is_no_claim(remux: Make, tmp_path: Path) -> None:
    """The sequence header of MPEG-1 states 18 bits in units of 400 bits a second; FFmpeg divides the size by it."""
    data = bytearray(remux("a.m1v", *PICTURE[:4], "-c:v", "mpeg1video", "-b:v", "500k", "-maxrate", "500k",
                           "-bufsize", "500k").read_bytes())  # fmt: skip
    at = -1
    while (at := data.find(b"\0\0\1\xb3", at + 1)) >= 0:
        data[at + 8 : at + 11] = bytes([0, 0, 0x40 | data[at + 10] & 0x3F])
    (tmp_path / "low.m1v").write_bytes(data)
    with Video(str(tmp_path / "low.m1v")) as video:
        assert (video.info.frames or 0) > 10 * 75  # FFmpeg's estimate, which only a progress bar uses
        assert (sum(1 for _ in video), video.cut) == (75, None)


def test_structure_of_unknown_files_states_nothing(tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"RIFF", b"\x1a\x45\xdf\xa3", b"\0\0\0\x08free", b"FLV\1", bytes(100))):
        (tmp_path / str(number)).write_bytes(data)
        assert missing_bytes(tmp_path / str(number)) == 0
    assert missing_bytes(tmp_path / "none") == 0
    assert index_at_end(b"\0\0\0\x08ftyp\0\0\x10\0mdat") and not index_at_end(b"\0\0\0\x08ftyp\0\0\x10\0moov")


def test_the_shared_cases(shared: Path) -> None:
    cases = shared / "data" / "cases" / "media"
    for name, frames in (("edit2.mp4", 32), ("along.mkv", 100), ("xvidmp3.avi", 100), ("ts.ts", 100)):
        assert read(cases / name) == (frames, None)
    frames, cut = read(cases / "cutfs.mp4")
    assert frames == 25 and cut == "is cut short: 33,603 bytes are missing at its end, 25 frames could be read"
