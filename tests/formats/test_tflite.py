"""Options of TensorFlow Lite operators: maps of numbers in FlexBuffers, as the library flatbuffers 25.12 wrote them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.formats.tflite import read_numbers

# {"y_scale": 10.0, "n": 3, "b": True, "s": "x"} and {"a": 1, "b": -300, "c": 0.5}
WRITTEN = bytes.fromhex(
    "795f7363616c65006e006200730001780004080b0815000006000000010000000400000001000000030000001d00000000002041"
    "6a06140e142601"
)
OTHER = bytes.fromhex("6100620063000307060500000500000001000000"
                      "0300000001000000d4feffff0000003f06060e0f2601")  # fmt: skip


def test_numbers_are_read_by_their_keys_and_other_values_left_out() -> None:
    assert read_numbers(WRITTEN) == {"y_scale": 10.0, "n": 3.0, "b": 1.0}
    assert read_numbers(OTHER) == {"a": 1.0, "b": -300.0, "c": 0.5}


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x07\x04\x01", WRITTEN[:-1], b"\xff\x26\x01", bytes(40)])
def test_what_is_no_map_or_damaged_is_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, struct.error, IndexError)):
        read_numbers(data)


@given(st.binary(max_size=80))
def test_any_bytes_end_in_a_map_or_an_error(data: bytes) -> None:
    try:
        found = read_numbers(data)
    except (ValueError, struct.error, IndexError):
        return
    assert all(isinstance(value, float) for value in found.values())
