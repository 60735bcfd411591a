"""Passwords and tokens in a text are hidden, in every spelling; ordinary names and sentences stay as they are."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvdetect.core.errors import SourceError
from cvdetect.core.redact import HIDDEN, redact, redact_name, stem_of_address

SECRET = "hunter2xyz"
ADDRESSES = [
    "rtsp://user:{}@cam/1",
    "rtsp://user:{}@cam:554/1?a=b",
    "rtsp://user:{}@[::1]:554/1",
    "rtsp://user:{}/with?signs#in@cam/1",
    "rtsp://user:with@{}@cam/1",
    "https://{}@host/a.mp4",
    "foo+bar://user:{}@host",
    "RTSP://User:{}@CAM",
    "rtsp:/user:{}@cam/1",
    "//user:{}@cam/1",
    "user:{}@cam:554/1",
    "ray://user:{}@head:10001",
    "http://cam/x?user=admin&pwd={}",
    "http://cam/x?password={}&a=b",
    "http://cam/x?a=b;passwd={}",
    "http://cam/x?loginuse=admin&loginpas={}",
    "https://h/x?X-Amz-Algorithm=y&X-Amz-Signature={}",
    "https://h/x?X-Amz-Security-Token={}&z",
    "https://h/x?AWSAccessKeyId={}",
    "https://h/x?sv=2020&sig={}",
    "https://h/x?access_token={}",
    "https://h/x?accessToken={}",
    "https://h/x?api_key={}",
    "https://h/x?apikey={}",
    "https://h/x?key={}",
    "https://h/x?auth={}",
    "https://h/x?client_secret={}",
    "https://h/x?jwt={}",
    "https://h/x#access_token={}&state=1",
    "https://h/x?p%77d={}",
    "https://h/x?to%6Ben={}",
    "https://h/?url=rtsp%3A%2F%2Fuser%3A{}%40cam%2F1",
    "https://h/?url=https%3A%2F%2Fh%2Fx%3Ftoken%3D{}%26a%3Db",
    "https://h/?url=https%253A%252F%252Fuser%253A{}%2540h",
    "https://h/?url=https://user:{}@h/x",
    "rtsp://1.2.3.4/user=admin&password={}&channel=1",
    "rtsp://1.2.3.4:554/user=admin_password={}_channel=1_stream=0.sdp",
    "http+unix://user:{}@host",
]
SENTENCES = [
    "{}",
    "{}: connection refused",
    "cannot open '{}' (why)",
    'Max retries exceeded with url: "{}", again',
    "a.jpg, {}; b",
    "<{}>",
    "--url={}",
    "x\n{}\ny",
]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_is_hidden_in_every_spelling_and_sentence(address: str, sentence: str) -> None:
    text = redact(sentence.format(address.format(SECRET)))
    assert SECRET not in text
    assert HIDDEN in text
    assert redact(text) == text, "nothing more is taken out the second time"


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"{{'password': '{SECRET}', 'user': 'me'}}",
        f"aws_secret_access_key='{SECRET}'",
        f"Authorization: Basic {SECRET}",
        f"'Authorization': 'Bearer {SECRET}'",
        f"with url: /x?token={SECRET} (Caused by",
    ],
)
def test_a_secret_is_hidden_in_what_other_packages_print(text: str) -> None:
    assert SECRET not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "a?b=c.jpg: is empty",
        "photos/12:30@home.jpg",
        "user:name@host.jpg: no such file",
        "dog.jpg (768x576)",
        r"C:\photos\a@2x.jpg",
        "s3://bucket/photos/a@2x.jpg",
        "s3://bucket/code=fr/key=1/a.jpg",
        "https://host/@user/x?page=2&keyword=cat&author=me&monkey=1",
        "rtsp://[::1]:554/1: does not answer",
        "http://host:80/a@b",
        "--conf 0.5,person=0.3",
        "models.yaml: model x: key: expected a number",
        "write user:password@ before the host",
        "connection refused: nothing listens on 127.0.0.1 port 1",
        "mail me@example.org: at 12:30",
        "50% of 3 images = all @ once",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@cam/1", "rtsp://user:***@cam/1"),
        ("http://u:p:q@cam:80/x?y=a@b:c", "http://u:***@cam:80/x?y=a@b:c"),
        ("http://cam:8080/x", "http://cam:8080/x"),
        ("clip:a@b.mp4", "clip:a@b.mp4"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert redact_name(url) == shown


@pytest.mark.parametrize("name", ["user:name@host.de", "a?token=b.jpg", "x y:z@w", "user=a&password=b"])
def test_names_of_files_that_exist_stay_readable(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert redact(name) == redact_name(name) == name
    if " " not in name:
        assert redact(f"{name}: is empty") == f"{name}: is empty"


# What stands in a password as it is, without percent-encoding, in what people type.
passwords = (
    st.text(st.sampled_from("abcXYZ019-._~!$*+,;=:%/#?@&"), min_size=1)
    .filter(lambda text: not re.search(r"@.*[?#]", text))  # that is user:password@host?query
    .map(lambda text: f"q7{text}w9")
)


@given(user=st.from_regex(r"[a-z0-9._-]{1,8}", fullmatch=True), password=passwords, sentence=st.sampled_from(SENTENCES))
def test_no_password_before_a_host_survives(user: str, password: str, sentence: str) -> None:
    text = redact(sentence.format(f"rtsp://{user}:{password}@host.example/live"))
    assert password not in text and "w9" not in text
    assert "host.example" in text


@given(password=st.text(min_size=1), depth=st.integers(1, 2))
def test_no_percent_encoded_password_survives(password: str, depth: int) -> None:
    secret = f"q7{quote(password, safe='', errors='replace')}w9"
    inner = f"https://user:{secret}@host/x?token={secret}&a=b"
    for _ in range(depth):
        inner = quote(inner, safe="")
    assert "w9" not in redact(f"https://outer/?to={inner}")


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(redact(text), str)


def test_a_long_word_takes_no_long_time() -> None:
    assert redact("rtsp://a:" * 20000) == "rtsp://a:" * 20000
    for word in ("a:" * 100_000 + "@b", "rtsp://u:p@h" * 10_000, "?a=" * 50_000, "%3A" * 50_000, "x" * 200_000 + "@"):
        assert len(redact(word)) < 5_000 or "@" not in word


def test_errors_hold_no_secret() -> None:
    error = SourceError(f"rtsp://me:{SECRET}@cam: refused")
    assert str(error) == f"rtsp://me:{HIDDEN}@cam: refused"


@pytest.mark.parametrize(
    ("address", "stem"),
    [
        ("rtsp://user:pw@host", "host"),
        ("rtsp://user:pw@host:554/live/ch1.sdp?x=1", "ch1"),
        ("http://host/user=a&password=b", "host"),
        ("https://host/videos/my%20trip.mp4?sig=b", "my_trip"),
        ("https://token@host/a/..", "host"),
        ("rtsp://", "stream"),
    ],
)
def test_file_names_are_derived_from_what_is_no_secret(address: str, stem: str) -> None:
    assert stem_of_address(address) == stem


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://user:hunter 2@camera/x",
        "rtsp://user:my hunter2 @[::1]:554/x",
        "srt://host:9000?streamid=read:live:user:hunter2",
        "http://host/x?PHPSESSID=hunter2",
        "http://host/x;jsessionid=hunter2",
        "http://host/x?userpwd=user:hunter2",
    ],
)
def test_secrets_with_spaces_and_in_further_keys_are_hidden(address: str) -> None:
    shown = redact(f"{address}: cannot be read: no route")
    assert "hunter" not in shown
    assert shown.endswith(": cannot be read: no route")


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8080 is not there: write to me@host.org",
        "http://host: no route; write to me@host.org",
        "rtsp://host:554/x and user@host",
    ],
)
def test_an_address_in_prose_ends_at_its_space(text: str) -> None:
    assert redact(text) == text


def test_the_colon_after_a_hidden_value_stays() -> None:
    assert redact("http://host/x?token=abc: refused") == "http://host/x?token=***: refused"
