"""Protocol buffer text format: text to a tree of messages and back, without the schema.

Follows the text format specification of protocol buffers: "#" comments, an optional ":" before "{", "<" and ">" in
place of braces, "," and ";" between fields, both kinds of quotes, escapes, adjacent strings, lists in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign

__all__ = ["Field", "Message", "Value", "parse", "write"]

_MOST_NESTED = 100
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\v\f]+|\#[^\n]*)+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>(?:0[xX][0-9A-Fa-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[fF]?)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    |(?P<sign>[-{}<>\[\]:;,./])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"} | {
    mark: mark for mark in (b"\\", b"'", b'"', b"?")
}
_WRITTEN = {byte: f"\\{byte:03o}" for byte in range(256) if not 32 <= byte < 127} | {
    ord("\n"): "\\n",
    ord("\t"): "\\t",
    ord("\r"): "\\r",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}
_CLOSING = {"{": "}", "<": ">"}

Value: TypeAlias = "Message | bytes | str"
"""A nested message, the bytes of a quoted string, or the text of a bare word or number ("DT_FLOAT", "1e-08")."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; a repeated field is several of them. `line` (from 1) does not count in comparisons."""

    name: str
    value: Value
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its fields in the order of the text."""

    fields: tuple[Field, ...] = ()

    def all(self, name: str) -> Iterator[Value]:
        """The values of all fields with this name."""
        return (item.value for item in self.fields if item.name == name)

    def messages(self, name: str) -> Iterator[Message]:
        """The nested messages with this name."""
        return (value for value in self.all(name) if isinstance(value, Message))

    def string(self, name: str) -> str:
        """The last quoted string with this name, as text; "" where there is none."""
        return next(reversed(list(self.strings(name))), "")

    def strings(self, name: str) -> Iterator[str]:
        """The quoted strings with this name, as text."""
        return (value.decode("utf-8", "replace") for value in self.all(name) if isinstance(value, bytes))

    def word(self, name: str) -> str | None:
        """The last bare word or number with this name, or None."""
        found = [value for value in self.all(name) if isinstance(value, str)]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str, name: str) -> Message:
    """Parse text format; raises ModelFileError, `name:line: what is wrong`, for any other text."""
    foreign = describe_foreign(text[:4096].encode("utf-8", "replace"), text_expected=True) if text else None
    if foreign:
        raise ModelFileError(f"{name}: not a text graph or label map but {foreign}; get the file itself")
    return _Parser(name, _tokens(text.removeprefix("\ufeff"), name)).message("", 0)


def write(message: Message) -> str:
    """The text of a message, which OpenCV can read; `parse` gives back an equal message."""
    return "".join(_written(message, ""))


def _tokens(text: str, name: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ModelFileError(f"{name}:{line}: {text[at : at + 20]!r} is not valid here")
        kind, found = str(match.lastgroup), match.group()
        if kind != "space":
            tokens.append(_Token(kind, found, line))
        line += found.count("\n")
        at = match.end()
    tokens.append(_Token("end", "", line))
    return tokens


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, name: str, tokens: list[_Token]) -> None:
        self._name = name
        self._tokens = tokens
        self._at = 0

    def message(self, closing: str, depth: int) -> Message:
        """Fields up to `closing` ("" is the end of the text)."""
        if depth > _MOST_NESTED:
            self._fail(f"more than {_MOST_NESTED} messages inside each other")
        fields: list[Field] = []
        while self._next.text != closing or self._next.kind == "string":
            fields += self._field(depth)
            if not self._take(","):
                self._take(";")
        if closing:
            self._at += 1
        return Message(tuple(fields))

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, sign: str) -> bool:
        found = self._next.kind == "sign" and self._next.text == sign
        self._at += found
        return found

    def _field(self, depth: int) -> list[Field]:
        line = self._next.line
        name = self._extension() if self._take("[") else self._word("a field name")
        colon = self._take(":")
        if self._take("["):
            values = self._list(depth)
        elif colon or self._next.text in _CLOSING:
            values = [self._value(depth)]
        else:
            self._fail(f"expected ':' or '{{' after {name}, not {self._shown}")
        return [Field(name, value, line) for value in values]

    def _extension(self) -> str:
        parts: list[str] = []
        while not self._take("]"):
            if self._next.kind != "name" and self._next.text not in (".", "/", "-"):
                self._fail(f"expected ']', not {self._shown}")
            parts.append(self._next.text)
            self._at += 1
        return f"[{''.join(parts)}]"

    def _list(self, depth: int) -> list[Value]:
        values: list[Value] = []
        if self._take("]"):
            return values
        while True:
            values.append(self._value(depth))
            if self._take("]"):
                return values
            if not self._take(","):
                self._fail(f"expected ',' or ']', not {self._shown}")

    def _value(self, depth: int) -> Value:
        token = self._next
        if token.kind == "sign" and token.text in _CLOSING:
            self._at += 1
            return self.message(_CLOSING[token.text], depth + 1)
        if token.kind == "string":
            return self._string()
        if self._take("-"):
            return "-" + self._word("a number", "number")
        return self._word("a value", "number")

    def _string(self) -> bytes:
        parts: list[bytes] = []
        while self._next.kind == "string":
            raw = self._next.text[1:-1].encode("utf-8", "surrogatepass")
            parts.append(_ESCAPE.sub(self._unescaped, raw))
            self._at += 1
        return b"".join(parts)

    def _unescaped(self, match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code in _SIMPLE:
            return _SIMPLE[code]
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 255])
        if code[:1] in b"xX" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        if code[:1] in b"uU" and len(code) > 1 and int(code[1:], 16) < 0x110000:
            return chr(int(code[1:], 16)).encode("utf-8", "surrogatepass")
        self._fail(f"unknown escape \\{code.decode('utf-8', 'replace')} in a string")

    def _word(self, expected: str, *also: str) -> str:
        token = self._next
        if token.kind not in ("name", *also):
            self._fail(f"expected {expected}, not {self._shown}")
        self._at += 1
        return token.text

    @property
    def _shown(self) -> str:
        return repr(self._next.text[:40]) if self._next.text else "the end of the file"

    def _fail(self, message: str) -> NoReturn:
        raise ModelFileError(f"{self._name}:{self._next.line}: {message}")


def _written(message: Message, indent: str) -> Iterator[str]:
    for item in message.fields:
        if isinstance(item.value, Message):
            yield f"{indent}{item.name} {{\n"
            yield from _written(item.value, indent + "  ")
            yield f"{indent}}}\n"
        else:
            value = item.value if isinstance(item.value, str) else _quoted(item.value)
            yield f"{indent}{item.name}: {value}\n"


def _quoted(value: bytes) -> str:
    return '"' + "".join(_WRITTEN.get(byte, chr(byte)) for byte in value) + '"'
