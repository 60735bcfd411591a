"""Takes passwords and other secrets out of a text; no message, log or result may show them.

Addresses carry secrets in three ways: before the host (``rtsp://user:password@camera``), as a value of the query or
fragment (``?token=…``, ``#access_token=…``), and, with many cameras, in the path (``/user=admin&password=…``). Each of
them may be percent-encoded, where one address is an argument of another one.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

__all__ = ["HIDDEN", "redact", "redact_name", "stem_of_address"]

HIDDEN = "***"
_LONGEST = 2048  # characters of a word that may be an address; the rest of a longer one is left out

# A word of a query's key (separated by punctuation, digits or capital letters) that makes its value a secret.
_WORDS = frozenset(
    "auth authorization code credential credentials hash hdnea hdnts hdntl hmac jwt key keys loginpas oauth otp pas "
    "pass passcode passphrase passwd password pin policy psk psw pw pwd sas secret session sessionid sid sig sign "
    "signature streamid ticket tkn token wmsauthsign".split()
)
# The same in keys that are written as one word: accesstoken, userpassword, awsaccesskeyid.
_PIECES = (
    "passw",
    "passphrase",
    "secret",
    "token",
    "signature",
    "credential",
    "apikey",
    "accesskey",
    "authkey",
    "sessid",
    "sessionid",
    "userpwd",
)
# Where "key=" and the like are ordinary words: in a path (``/code=fr/``), and in prose.
_PLAINEST = ("password", "passwd", "pwd", "secret", "token", "apikey", "accesskey", "credential")

_COLON = r"(?::|%(?:25)*3[aA])"
_START = re.compile(rf"[a-zA-Z][a-zA-Z0-9+.-]+(?P<colon>{_COLON})(?:/|%(?:25)*2[fF]){{1,2}}")
_REST = re.compile(r"(?:[^\s'\"<>`|]|['\"<>`|](?=[\w%@]))*")  # a quote amid a word is a part of it
_END, _ENCODED_END = re.compile(r"[/?#\\]"), re.compile(r"[/?#\\]|%(?:25)*(?:2[fF]|3[fF]|23)")  # of an authority
_PORT = re.compile(rf"(?:\[[^\]]*\]|[^:%]*)(?:{_COLON}\d*)?$")
_PAIR = re.compile(
    r"(?P<mark>[?&;#/]|%(?:25)*(?:3[fF]|26|3[bB]|23)|(?<=[a-z0-9])_)"
    r"(?P<key>(?:[^\s?&;#=/'\"<>%]|%(?!(?:25)*(?:3[dDfF]|26|3[bB]|23|2[fF])))+)"
    r"(?P<equals>=|%(?:25)*3[dD])"
)
_SPACED = re.compile(  # a password with spaces; what begins like a port is none
    r"(?P<start>[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/?#@:]{0,200}:)"
    r"(?!\d*(?:[\s/?#]|: ))[^\s/?#@\n][^/?#@\n]{0,80}@(?=[\w\[])"
)
_VALUE = re.compile(r"(?:[^\s&;#'\"<>`|]|['\"<>`|](?=[\w%@]))*")
_BARE = re.compile(
    r"(?<![^\s'\"(<=,;|/\\@])(?P<user>[^\s'\"/:@<>()=,;|\\]+):(?!\\)[^\s'\"/]+@(?=(?P<host>[\w.:\[\]-]*[\w\]]))"
)
_FILE = re.compile(r"\.(?:jpe?g|png|webp|bmp|gif|tiff?|avif|heic|mp4|mkv|avi|mov|webm|json|txt|xml)$", re.IGNORECASE)
_PLAIN = re.compile(
    r"(?<![\w?&;#/.-])(?P<key>['\"]?[\w.-]+['\"]?\s?[=:]\s?)(?P<quote>['\"]?)(?P<value>[^\s'\",;&)}\]]+)"
)
_HEADER = re.compile(r"\b(Bearer|(?<=Authorization: )(?:Basic|Digest|Token))\s+[\w.~+/=-]{6,}")
_IN_A_KEY = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def redact(text: str) -> str:
    """`text` with ``***`` in place of every password, token and signature of the addresses in it.

    Never raises. Names of files that exist stay as they are, though they look like an address
    (``user:name@host.jpg``).
    """
    if "Bearer" not in text and not any(sign in text for sign in "@=%:"):
        return text
    if _exists(text):
        return text
    text = _SPACED.sub(rf"\g<start>{HIDDEN}@", text)
    text = _HEADER.sub(rf"\1 {HIDDEN}", text)
    text = _PLAIN.sub(_hide_plain, text)
    return "".join(_redact_word(word) for word in re.split(r"(\s+)", text))


def redact_name(name: str) -> str:
    """The name of an input in messages and results: as it was typed, but an address without its secrets."""
    if _exists(name):
        return name
    return redact(re.sub(r"\s", "%20", name) if "://" in name else name)


def stem_of_address(address: str) -> str:
    """A file's stem made from an address: from its last part that is no secret; "stream" where there is none."""
    start = re.split(r"[?#]", redact_name(address), maxsplit=1)[0].partition("://")[2]
    host, _, path = start.rpartition(f"{HIDDEN}@")[2].partition("/")
    last = path.rstrip("/").rpartition("/")[2]
    if HIDDEN in last or "=" in last:
        last = ""
    for text in (last.rpartition(".")[0] or last, host):
        if stem := re.sub(r"[^\w.-]+", "_", unquote(text)).strip("._"):
            return stem
    return "stream"


def _exists(name: str) -> bool:
    try:
        return 0 < len(name) < _LONGEST and os.path.lexists(name)
    except ValueError:  # a NUL byte
        return False


def _hide_plain(found: re.Match[str]) -> str:
    """``password=…``, ``'api_key': '…'``, as in the representation of a mapping or of arguments."""
    key = re.sub(r"[^a-z]", "", found["key"].lower())
    assigned = "=" in found["key"] or found["quote"]
    if not assigned or "://" in found["value"] or not any(piece in key for piece in _PLAINEST):
        return found[0]
    return f"{found['key']}{found['quote']}{HIDDEN}"


def _redact_word(word: str) -> str:
    if not word or word.isspace() or _names_a_file(word):
        return word
    if not any(sign in word for sign in "@=%"):
        return word
    if len(word) > _LONGEST:
        word = f"{word[:_LONGEST]}…"
    return _BARE.sub(_hide_bare, _redact_pairs(_redact_userinfo(word)))


def _names_a_file(word: str) -> bool:
    """Whether the word, without the punctuation that a sentence puts around it, is a file that exists."""
    return "://" not in word and any(_exists(name) for name in (word, word.strip("'\"()[],;:."), word.rstrip(":,;.")))


def _redact_userinfo(word: str) -> str:
    """Without ``user:password@`` and ``token@`` of the addresses in it."""
    parts, position = [], 0
    while start := _START.search(word, position):
        rest = _REST.match(word, start.end())
        found = _userinfo(rest[0] if rest else "", start["colon"])
        parts.append(word[position : start.end()])
        position = start.end()
        if found:
            named = re.match(rf"(?:(?!{_COLON}).)*{_COLON}", found["userinfo"], re.DOTALL)
            parts.append(f"{named[0] if named else ''}{HIDDEN}{found['at']}")
            position += found.end()
    return "".join([*parts, word[position:]])


def _userinfo(rest: str, colon: str) -> re.Match[str] | None:
    """The part before the host; a password may hold signs that ought to be percent-encoded.

    Where there clearly is one, everything up to the last ``@`` of the path counts as it: rather too much than too
    little. The query does not, unless there is no host before it.

    Args:
        colon: the colon of the scheme; signs that are encoded more often than it belong to the values.
    """
    if following := _START.search(rest):
        rest = rest[: following.start()]
    end = (_END if colon == ":" else _ENCODED_END).search(rest)
    authority = rest[: end.start()] if end else rest
    last = re.compile(rf"(?P<userinfo>.*)(?P<at>@|{'%40' if colon == ':' else colon[:-2] + '40'})", re.DOTALL)
    found = last.match(authority)
    if found is None:
        return None if _PORT.match(authority) else last.match(rest)
    if re.search(_COLON, found["userinfo"]):
        query = re.compile(r"[?#]" if colon == ":" else r"[?#]|%(?:25)*(?:3[fF]|23)").search(rest, found.end())
        return last.match(rest if found.end() == len(authority) else rest[: query.start() if query else None])
    return found


def _redact_pairs(word: str) -> str:
    """Without the values of the pairs ``key=value`` whose key names a secret."""
    parts, position = [], 0
    while pair := _PAIR.search(word, position):
        parts.append(word[position : pair.end()])
        position = pair.end()
        if _is_secret(unquote(unquote(pair["key"])), in_path=pair["mark"] in "/_"):
            value = _value(pair["equals"]).match(word, position)
            if value and value[0]:
                parts.append(HIDDEN)
                position = value.end() - value[0].endswith(":")  # the colon of a message
    return "".join([*parts, word[position:]])


def _value(equals: str) -> re.Pattern[str]:
    """A value after an equals sign that is encoded so often; it ends at ``&``, ``;`` or ``#`` of the same kind."""
    return _VALUE if equals == "=" else re.compile(rf"(?:(?!{equals[:-2]}(?:26|3[bB]|23)){_VALUE.pattern[3:]}")


def _is_secret(key: str, in_path: bool) -> bool:
    """Whether the value of this key is a secret; in a path (``/code=fr/``) only the plainest keys have one."""
    squeezed = re.sub(r"[^a-z]", "", key.lower())
    if in_path:
        return any(piece in squeezed for piece in _PLAINEST)
    words = {word.lower() for word in _IN_A_KEY.findall(key)} | {squeezed}
    return bool(words & _WORDS) or any(piece in squeezed for piece in _PIECES)


def _hide_bare(found: re.Match[str]) -> str:
    """``user:password@host`` without ``scheme://``; a host with the suffix of a file is none."""
    return found[0] if _FILE.search(found["host"]) else f"{found['user']}:{HIDDEN}@"
