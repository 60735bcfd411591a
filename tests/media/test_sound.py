"""Sound is copied where the container holds its codec, else re-encoded; it is never the reason for a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvdetect.media.sound_writer import SoundWriter, _Copied
from tests.media.conftest import Make, av, beeps, offsets, through

SOUNDS = {
    "mp3.avi": (["-c:v", "mpeg4", "-c:a", "libmp3lame"], {".mp4": "mp3", ".avi": "mp3", ".webm": "opus", ".ts": "mp3"}),
    "ac3.avi": (["-c:v", "mpeg4", "-c:a", "ac3"], {".mp4": "ac3", ".avi": "ac3"}),
    "pcm.mov": (["-c:v", "mjpeg", "-c:a", "pcm_s16le"], {".mp4": "aac", ".mkv": "pcm_s16le", ".avi": "pcm_s16le"}),
    "u8.avi": (["-c:v", "mjpeg", "-c:a", "pcm_u8"], {".mp4": "aac", ".mov": "pcm_u8"}),
    "s24.mkv": (["-c:v", "mjpeg", "-c:a", "pcm_s24le"], {".mp4": "aac", ".ts": "aac"}),
    "float.mkv": (["-c:v", "mjpeg", "-c:a", "pcm_f32le"], {".mp4": "aac", ".webm": "opus"}),
    "alaw.mov": (["-c:v", "mjpeg", "-c:a", "pcm_alaw", "-ar", "8000"], {".mp4": "aac", ".mov": "pcm_alaw"}),
    "mulaw.mkv": (["-c:v", "mjpeg", "-c:a", "pcm_mulaw", "-ar", "8000"], {".mp4": "aac", ".avi": "pcm_mulaw"}),
    "wma.wmv": (["-c:v", "wmv2", "-c:a", "wmav2"], {".mp4": "aac", ".webm": "opus"}),
    "adpcm.avi": (["-c:v", "mpeg4", "-c:a", "adpcm_ms"], {".mp4": "aac", ".avi": "aac"}),
    "eac3.mkv": (["-c:v", "mjpeg", "-c:a", "eac3"], {".mp4": "eac3", ".avi": "aac"}),
    "dts.mkv": (["-c:v", "mjpeg", "-c:a", "dca", "-strict", "-2", "-ar", "48000"], {".mkv": "dts", ".avi": "aac"}),
    "vorbis.mkv": (["-c:v", "mjpeg", "-c:a", "libvorbis"], {".mp4": "aac", ".webm": "vorbis"}),
    "flac.mkv": (["-c:v", "mjpeg", "-c:a", "flac"], {".mp4": "flac", ".ts": "aac"}),
    "alac.mov": (["-c:v", "mjpeg", "-c:a", "alac"], {".mp4": "alac", ".avi": "aac"}),
}


def codecs(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams.audio]


@pytest.mark.parametrize("name", SOUNDS)
def test_each_codec_is_kept_or_re_encoded(name: str, clip: Make, tmp_path: Path) -> None:
    options, wanted = SOUNDS[name]
    source = clip(name, *options)
    was = codecs(source)
    for suffix, codec in wanted.items():
        passed = through(source, tmp_path / f"out{suffix}")
        assert codecs(passed.out) == [codec]
        assert any("re-encoded" in line for line in passed.told) == (was != [codec]), passed.told
        assert offsets(passed.out) == pytest.approx(offsets(source), abs=0.03)


def test_several_tracks_keep_their_languages(clip: Make, tmp_path: Path) -> None:
    tracks = ["-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:v", "libx264", "-c:a:0", "aac", "-c:a:1", "libmp3lame"]
    names = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"]
    source = clip("two.mkv", *tracks, *names)
    for suffix in (".mp4", ".mkv", ".webm", ".ts"):
        out = through(source, tmp_path / f"out{suffix}").out
        with av.open(str(out)) as container:
            assert [stream.metadata.get("language") for stream in container.streams.audio] == ["eng", "deu"]


def test_sound_that_cannot_be_put_there_is_left_out_with_a_warning(
    clip: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> Any:
        raise ValueError("no")

    source = clip("a.mp4", "-c:v", "libx264", "-c:a", "aac")
    monkeypatch.setattr(_Copied, "packets", refuses)
    passed = through(source, tmp_path / "out.mp4")
    assert len(passed.frames) == 75 and "the aac sound is left out" in passed.told[0]
    monkeypatch.setattr(SoundWriter, "_output", refuses)
    passed = through(source, tmp_path / "out.mp4")
    assert codecs(passed.out) == [] and "the sound is left out" in passed.told[0]


def test_the_shared_case(shared: Path, tmp_path: Path) -> None:
    passed = through(shared / "data/cases/media/xvidmp3.avi", tmp_path / "out.mp4")
    assert codecs(passed.out) == ["mp3"] and not passed.told and passed.cut is None


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "aac"), ("a.flv", "aac"), ("a.mkv", "libmp3lame"), ("a.mkv", "ac3"), ("a.mkv", "flac"),
        ("a.mkv", "pcm_s16le"), ("a.mov", "pcm_alaw"), ("a.mkv", "mp2"),
    ],
)  # fmt: skip
def test_a_gap_in_copied_sound_is_silence_where_there_are_no_times(
    name: str, codec: str, clip: Make, tmp_path: Path
) -> None:
    gap = ["-af", "aselect='not(between(t,0.5,1.5))'", "-ar", "44100"]
    source = clip(name, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", codec, *gap)
    passed = through(source, tmp_path / "out.avi")
    assert not passed.told and len(beeps(passed.out)) == 1
    assert offsets(passed.out) == pytest.approx(offsets(source), abs=0.05)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_re_encoded_sound_of_a_low_rate_stays_in_step_where_there_are_no_times(
    rate: int, clip: Make, tmp_path: Path
) -> None:
    # After silence the encoder's packets are as large as they come.
    clicks = ["-af", "aeval='val(0)+0.06*sin(6283*t)*lt(mod(t,0.5),0.04)*lt(t,1.5)'"]
    source = clip("a.mkv", "-c:v", "libx264", *clicks, "-c:a", "adpcm_ima_wav", "-ar", rate, "-ac", 1)
    passed = through(source, tmp_path / "out.avi")
    assert codecs(passed.out) == ["aac"]
    assert offsets(passed.out) == pytest.approx(offsets(source), abs=0.05)
