"""A standard output that is not UTF-8, and names that a terminal would obey, end no command and garble nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli

LEGACY = [
    {"PYTHONIOENCODING": "cp1252"},
    {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


def cvdetect(folder: Path, env: dict[str, str], *args: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "cvdetect", *map(os.fsencode, map(str, args))],
        capture_output=True, check=False, timeout=120, cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip


@pytest.mark.parametrize("env", LEGACY, ids=["cp1252", "C"])
@pytest.mark.parametrize(
    "args",
    [["models", "list"], ["models", "show", "yolov3-tiny"], ["doctor"], ["image", "--help"], ["image", "狗→.jpg"]],
)
def test_no_command_ends_by_an_encoding(tmp_path: Path, env: dict[str, str], args: list[str]) -> None:
    done = cvdetect(tmp_path, {**env, "COLUMNS": "80"}, *args)
    usual = cvdetect(tmp_path, {"PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}, *args)
    assert done.returncode == usual.returncode
    encoding = env.get("PYTHONIOENCODING", "ascii")
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding, "replace")
    assert "UnicodeEncodeError" not in err and "(a defect in cvdetect" not in err
    widths = [[len(line) for line in text.splitlines()] for text in (out, usual.stdout.decode())]
    assert widths[0] == widths[1] or (args[-1] == "--help" and len(widths[0]) == len(widths[1]))
    assert "\u2500" not in out and "\u2503" not in out


@pytest.mark.parametrize("env", LEGACY, ids=["cp1252", "C"])
def test_detections_with_labels_in_any_script(tmp_path: Path, env: dict[str, str], shared: Path, samples: Path) -> None:
    names = [f"狗{i} \U0001f415" for i in range(80)]
    names[16] = "ch\N{LATIN SMALL LETTER E WITH GRAVE}vre \u202e狗"
    (tmp_path / "n.names").write_text("\n".join(names), encoding="utf-8")
    shutil.copy(samples / "dog.jpg", tmp_path / "d.jpg")
    model = ["--cfg", shared / "data/models/yolo-fastest-1.1.cfg", "--names", "n.names"]
    table = cvdetect(tmp_path, env, "image", "d.jpg", *model, "--conf", "0.3", "--no-save")
    assert table.returncode == 0, table.stderr
    assert b"\\u202e\\u72d7" in table.stdout
    found = cvdetect(tmp_path, env, "image", "d.jpg", *model, "--conf", "0.3", "--no-save", "--json", "-")
    assert found.returncode == 0 and found.stdout.isascii()
    assert names[16] in [d["label"] for d in json.loads(found.stdout)["detections"]]


def test_what_a_terminal_would_obey_is_escaped_in_names_and_errors(cli: Cli, samples: Path) -> None:
    bad = "\x1b]0;owned\x07\u202egpj.jpg"
    shutil.copy(samples / "dog.jpg", bad)
    done = [cli("image", "missing\x1b[2J.jpg"), cli("image", bad, "--size", "\x1b[2J"), cli("im\x1bage"), cli(bad)]
    done += [cli("models", "show", "yolo\x1b[2J"), cli("--models", bad, "models", "list")]
    for one in done:
        assert one.code in (2, 3, 4), one
        assert not set(one.out + one.err) & set("\x1b\x07\u202e"), one
        assert one.err.startswith("error: ")


def test_every_error_has_one_label(cli: Cli, samples: Path) -> None:
    Path("broken.jpg").write_bytes(b"no picture")
    usage, option = cli("image"), cli("image", "x.jpg", "--conff", "1")
    assert usage.err.startswith("error: Missing argument") and "cvdetect image --help" in usage.err
    assert option.err.startswith("error: No such option") and option.code == usage.code == 2
    assert cli("image", "missing.jpg").err == "error: missing.jpg: no such file\n"
    told = cli("models", "pull", "yolov4", "yolov7", "--cache-dir", "x")
    assert told.code == 2 and told.err.startswith("error: ")
    offline = cli("--offline", "--cache-dir", "cache", "models", "pull", "yolov4")
    assert offline.code == 3 and offline.err.startswith("error: yolov4: ")


def test_without_arguments_the_help_is_shown_and_no_error(cli: Cli) -> None:
    done = cli()
    assert "Commands:" in done.out + done.err and "error:" not in done.err


@pytest.mark.skipif(os.name == "nt", reason="file descriptors are closed by the shell")
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_closed_streams_are_no_defect(tmp_path: Path, closed: str) -> None:
    command = f"exec '{sys.executable}' -m cvdetect models list {closed}"
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert b"Traceback" not in done.stderr and b"a defect in cvdetect" not in done.stderr
