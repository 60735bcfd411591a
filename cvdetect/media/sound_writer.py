"""Writes sound into an output container: copied packet by packet where the container takes it, else re-encoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from cvdetect.core.progress import Progress
from cvdetect.media.codecs import Container
from cvdetect.media.sound import Sound, Track, duration

__all__ = ["SoundWriter"]

_FRAMED = ("aac", "mp3", "mp2", "ac3", "flac")  # a packet is a frame
_RATES = {
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "libopus": (48000,),
}
_USUAL_RATE = 48000
_LEAST_RATE_WITHOUT_TIMES = 32000
_BIT_RATE = 80_000  # a channel
_LATE_S = 0.03  # a gap or an overlap in sound up to this is jitter
_CLOCK = Fraction(1, 90_000)  # seconds
_LONGEST_SILENCE_S = 3600.0
_PRIMING = 6  # packets: the first ones of an encoder are shorter or hold its delay
_PCM_PIECE = Fraction(1, 50)  # seconds of PCM, which has no frames of its own


class SoundWriter:
    """The audio tracks of an output container.

    Args:
        sound: the tracks and their packets.
        container: PyAV's output container, before its header is written.
        kind: its row in the table of containers.
        name: what messages call the output.
        shift_s: seconds of the run that become 0 in a container that has no times (AVI).
        recode: re-encode every track.
    """

    def __init__(
        self,
        sound: Sound,
        container: Any,
        kind: Container,
        name: str,
        progress: Progress,
        shift_s: float,
        recode: bool,
    ) -> None:
        self._sound = sound
        self._container = container
        self._kind = kind
        self._name = name
        self._progress = progress
        self._shift_s = None if kind.has_times else shift_s
        self._outputs: dict[int, _Copied | _Recoded] = {}
        for track in sound.tracks:
            output = self._output(track, recode)
            if output is not None:
                self._outputs[track.index] = output

    def _output(self, track: Track, recode: bool) -> _Copied | _Recoded | None:
        late = self._shift_s is not None and track.begins_s - self._shift_s > _LATE_S
        if not recode and not late and _can_copy(track, self._kind):
            return _Copied(track, self._container, self._kind, self._shift_s)
        encoder = self._kind.sound_encoder
        try:
            output = _Recoded(track, self._container, encoder, self._shift_s)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self._lose(track, error)
            return None
        wanted = "Opus" if encoder == "libopus" else "AAC"
        what = "put silence before" if late else "hold"
        how = f"{track.codec} sound" if track.codec != encoder else f"{track.codec} sound of this form"
        self._progress.note(f"{self._name} cannot {what} {how}; it is re-encoded to {wanted}")
        return output

    def _lose(self, track: Track, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        self._progress.warn(f"{self._name}: the {track.codec or 'unknown'} sound is left out: {reason}")

    def write(self, until_s: float) -> None:
        """Mux the sound up to `until_s`, in seconds of the run.

        A track that the container refuses is left out from then on, with a warning.

        Raises:
            OSError: the output takes no more.
        """
        for packet in self._sound.take(until_s):
            number = packet.stream.index
            if number in self._outputs:
                self._try(number, packet)

    def finish(self) -> None:
        """Mux what the encoders have held back."""
        for number in list(self._outputs):
            self._try(number, None)

    def _try(self, number: int, packet: Any) -> None:
        output = self._outputs[number]
        try:
            for ready in output.packets(packet):
                self._container.mux(ready)
        except (av.error.InvalidDataError, av.error.ArgumentError, ValueError) as error:
            del self._outputs[number]
            self._lose(output.track, error)


class _Copied:
    """A track whose packets are copied as they are."""

    def __init__(self, track: Track, container: Any, kind: Container, shift_s: float | None) -> None:
        self.track = track
        self._stream = container.add_stream_from_template(_template(track, kind))
        _describe(self._stream, track)
        self._shift_s = shift_s
        self._end: float | None = None  # seconds: where the last packet ends; None before the first
        self._lacking = 0.0  # seconds of silence that would have been less than a packet
        self._silence: Any = None

    def packets(self, packet: Any) -> Iterator[Any]:
        """The packet, assigned to the output's track.

        In a container without times, packets before the first frame are left out, and gaps are filled with silence.
        """
        if packet is None:
            return
        if self._shift_s is not None:
            begin, lasts = float(packet.pts * packet.time_base), self._lasts(packet)
            # A packet that only starts the decoder stays: without it the first samples would be damaged.
            if self._end is None and begin + lasts / 2 < self._shift_s and not packet.is_discard:
                return
            if self._end is not None and begin > self._end + _LATE_S and self._has_silence():
                yield from self._filled(self._end, begin)
            self._end = begin + lasts
        packet.stream = self._stream
        yield packet

    def _has_silence(self) -> bool:
        """Whether packets of silence can be put between its own."""
        return self.track.codec in _FRAMED or self.track.codec.startswith("pcm_")

    def _lasts(self, packet: Any) -> float:
        """Seconds of sound in a packet; in MP4 the stated duration of one before a gap includes the gap."""
        stated, source = float(duration(packet) * packet.time_base), self.track.stream
        if self.track.codec in _FRAMED and source.container.format.name.startswith("mov"):
            whole = source.codec_context.frame_size / source.codec_context.sample_rate
            return min(stated, whole) if whole else stated
        return stated

    def _filled(self, begin: float, end: float) -> Iterator[Any]:
        """Packets of silence between two times in seconds."""
        self._silence = self._silence or _silent_packet(self.track.stream)
        data, lasts = self._silence
        wanted = min(end - begin, _LONGEST_SILENCE_S) + self._lacking
        number = int(min(wanted, end - begin) / lasts + 0.01)
        self._lacking = wanted - number * lasts
        for place in range(number):
            packet = av.Packet(data)
            packet.time_base = _CLOCK
            packet.pts = packet.dts = round((begin + place * lasts) / _CLOCK)
            packet.duration = round(lasts / _CLOCK)
            packet.stream = self._stream
            yield packet


class _Recoded:
    """A track that is decoded and encoded again; gaps are filled with silence, so that it stays in step."""

    def __init__(self, track: Track, container: Any, encoder: str, shift_s: float | None) -> None:
        self.track = track
        source = track.stream.codec_context
        rate = _rate(encoder, source.sample_rate, has_times=shift_s is None)
        layout = source.layout.name if 1 <= source.layout.nb_channels <= 6 else "stereo"
        if layout not in ("mono", "stereo", "5.1"):
            layout = "mono" if source.layout.nb_channels == 1 else "stereo"
        self._stream = container.add_stream(encoder, rate=rate, layout=layout)
        self._stream.bit_rate = _BIT_RATE * self._stream.codec_context.layout.nb_channels
        _describe(self._stream, track)
        self._format = self._stream.codec_context.format.name
        self._resampler = av.AudioResampler(format=self._format, layout=layout, rate=rate)
        self._rate, self._layout = rate, layout
        self._shift_s = shift_s
        self._next: int | None = None if shift_s is None else 0  # of the next sample; None: where the sound begins

    def packets(self, packet: Any) -> Iterator[Any]:
        """The encoder's packets for one packet of the source; None flushes it."""
        for frame in self._decoded(packet):
            for piece in self._in_step(frame):
                yield from self._stream.encode(piece)
        if packet is None:
            yield from self._stream.encode(None)

    def _decoded(self, packet: Any) -> list[Any]:
        """Decoded frames; damage in the source is passed over, and its gap is filled later."""
        try:
            frames: list[Any] = self.track.stream.codec_context.decode(packet)
        except (av.error.FFmpegError, EOFError):
            return []
        return frames

    def _in_step(self, frame: Any) -> Iterator[Any]:
        """The frame resampled; with silence before it where it comes late, without its beginning where early."""
        wanted = self._next or 0
        if frame.pts is not None:
            seconds = float(frame.pts * (frame.time_base or self.track.stream.time_base)) - (self._shift_s or 0.0)
            wanted = round(seconds * self._rate)
        if self._next is None:
            self._next = max(0, wanted)
        off = wanted - self._next
        frame.pts = None
        skip = 0
        if off > _LATE_S * self._rate:
            yield from self._silence(min(off, round(_LONGEST_SILENCE_S * self._rate)))
        elif off < -_LATE_S * self._rate or (wanted < 0 and off < 0):
            skip = -off
        for resampled in self._resampler.resample(frame):
            piece = resampled
            if skip:
                piece = self._without_beginning(resampled, skip)
                skip -= min(skip, resampled.samples)
            if piece is not None:
                yield self._stamped(piece)

    def _silence(self, samples: int) -> Iterator[Any]:
        """So many samples of silence, in pieces of a second."""
        while samples > 0:
            size = min(samples, self._rate)
            samples -= size
            yield self._stamped(self._frame_of(np.zeros((self._planes(), size * self._width()), np.float32)))

    def _planes(self) -> int:
        return self._stream.codec_context.layout.nb_channels if self._format.endswith("p") else 1

    def _width(self) -> int:
        return 1 if self._format.endswith("p") else int(self._stream.codec_context.layout.nb_channels)

    def _without_beginning(self, frame: Any, samples: int) -> Any:
        if samples >= frame.samples:
            return None
        return self._frame_of(np.ascontiguousarray(frame.to_ndarray()[:, samples * self._width() :]))

    def _frame_of(self, data: Any) -> Any:
        kind = np.float32 if self._format.startswith("flt") else np.int16
        frame = av.AudioFrame.from_ndarray(data.astype(kind), format=self._format, layout=self._layout)
        frame.sample_rate = self._rate
        return frame

    def _stamped(self, frame: Any) -> Any:
        frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
        self._next = (self._next or 0) + frame.samples
        return frame


def _rate(encoder: str, source: int, has_times: bool) -> int:
    """Samples a second of re-encoded sound.

    AVI counts an AAC packet of more than 768 bytes a channel as two, and cannot state what an encoder puts in front of
    the first sample. At low rates a packet lasts long: both would move the sound by a tenth of a second and more.
    """
    known = source in _RATES[encoder] and (has_times or source >= _LEAST_RATE_WITHOUT_TIMES)
    return source if known else _USUAL_RATE


def _template(track: Track, kind: Container) -> Any:
    """The stream whose parameters a copied track gets.

    An AVI or WAVE header gives a frame of MP3 or AC-3 a fixed size in bytes (``nBlockAlign``), and FFmpeg's AVI muxer
    then takes it for PCM; through a Matroska header it goes without.
    """
    if kind.muxer != "avi" or track.codec not in ("mp3", "mp2", "ac3"):
        return track.stream
    header = io.BytesIO()
    with av.open(header, "w", format="matroska") as container:
        packet = av.Packet(bytes(64))
        packet.stream = container.add_stream_from_template(track.stream)
        packet.pts = packet.dts = 0
        container.mux(packet)  # FFmpeg does not open a file without any
    header.seek(0)
    return av.open(header).streams.audio[0]


def _can_copy(track: Track, kind: Container) -> bool:
    """Whether a container holds a codec as it is, found out by writing a header."""
    if kind.sound is not None and track.codec not in kind.sound:
        return False
    try:
        with av.open(io.BytesIO(), "w", format=kind.muxer) as trial:
            trial.add_stream_from_template(track.stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError, OSError):
        return False
    return True


def _describe(stream: Any, track: Track) -> None:
    """Keep the track's language, title and role."""
    for key in ("language", "title"):
        if value := track.stream.metadata.get(key):
            stream.metadata[key] = value
    stream.disposition = track.stream.disposition


def _silent_packet(stream: Any) -> tuple[bytes, float]:
    """A packet of silence for an audio stream's decoder, and how many seconds it lasts; it fills gaps in copied sound.

    Raises:
        ValueError: there is no encoder for the stream's codec.
        av.error.FFmpegError: it does not take the stream's rate or channels.
    """
    source = stream.codec_context
    rate, layout = source.sample_rate, source.layout.name
    encoder: Any = av.CodecContext.create(source.codec.canonical_name, "w")
    encoder.sample_rate, encoder.layout, encoder.time_base = rate, layout, Fraction(1, rate)
    encoder.format = encoder.codec.audio_formats[0]
    encoder.open()
    samples = encoder.frame_size or round(rate * _PCM_PIECE)
    packets: list[bytes] = []
    for number in range(_PRIMING):
        frame = _silence(encoder, samples)
        frame.pts, frame.time_base = number * samples, encoder.time_base
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    # A decoder that doubles the rate (HE-AAC) gives more samples than this encoder takes.
    lasts = source.frame_size if encoder.frame_size and source.frame_size else samples
    return packets[-1], lasts / rate


def _silence(encoder: Any, samples: int) -> Any:
    frame = av.AudioFrame(format=encoder.format.name, layout=encoder.layout.name, samples=samples)
    frame.sample_rate = encoder.sample_rate
    zero = 0x80 if encoder.format.name.startswith("u8") else 0
    for plane in frame.planes:
        plane.update(bytes([zero]) * plane.buffer_size)
    return frame
