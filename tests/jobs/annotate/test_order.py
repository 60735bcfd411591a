"""Sorting bytes in the database is sorting names as people do."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from cvdetect.core.printable import natural_key
from cvdetect.jobs.annotate.manifest.manifest import sort_key

names = st.text(st.sampled_from("aAbB0019/._-é٣ß\udc80"), max_size=12)


@given(st.lists(names, unique=True))
@example(["a", "a0", "a00", "a1", "a01", "a10", "a2", "A2", "a/1", "a-1", "", "0"])
def test_the_order_of_the_keys_is_the_natural_order_of_the_names(given_names: list[str]) -> None:
    assert sorted(given_names, key=sort_key) == sorted(given_names, key=lambda n: (natural_key(n), n))


@given(names, names)
def test_different_names_have_different_keys(a: str, b: str) -> None:
    assert (sort_key(a) == sort_key(b)) == (a == b)


def test_numbers_of_any_length_have_a_place() -> None:
    assert sort_key("a" + "9" * 5000) > sort_key("a" + "9" * 4999)
