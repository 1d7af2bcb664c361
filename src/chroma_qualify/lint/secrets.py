"""What is a password or a token, by its name or its shape, and manifests and texts without them.

For the rule `secret-in-config`, and for all that a run keeps of objects: a run directory is sent to colleagues and kept
by a workflow. A secret under a name that says nothing, in a place of no known shape, is not found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

LEFT_OUT: Final = "(left out)"

_WORD = r"(?:passw(?:or)?d|passphrase|token|secret|credentials?|api[_-]?key|(?:private|secret|access)[_-]key|htpasswd)"
_NAME = rf"(?:[\w.-]{{0,60}}[._-])?{_WORD}"  # of bounded length, or a long text takes the square of it
_IS_NAME = re.compile(rf"(^|[._-]){_WORD}$", re.IGNORECASE)
_IS_HEADER = re.compile(r"(proxy-)?authorization|cookie", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HEADERS = re.compile(r"(authorization|api[_-]?key|token)\s*[=:]\s*\S", re.IGNORECASE)
# Not a secret itself: where one is, a reference to one, a switch, a number, the name of a class.
_NO_SECRET = re.compile(
    r"|/.*|\$[({].*|\$[A-Z_][A-Z0-9_]*|<.*>.*|true|false|none|null|\d+|chromadb\.[\w.]+", re.IGNORECASE
)

# In the running text of a file, a command or a description: what is before a secret, the secret, what is behind it.
_VALUE = r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'"
_SHAPES = (
    re.compile(r"(://[^/\s:@\"']*:)([^/\s@\"']+)(@)"),
    re.compile(rf"((?:^|[\s\"'])--?{_NAME}(?:=|\s+))({_VALUE}|[^\s\"'-][^\s\"']*)()", re.IGNORECASE),
    re.compile(rf"(\b{_NAME}=)({_VALUE}|[^\s\"',;&]+)()", re.IGNORECASE),
    # As in YAML, JSON and what `kubectl describe` prints: first in the line, or behind a bracket or comma.
    re.compile(
        rf"(^(?:[ \t]*)(?:- )*[\"']?{_NAME}[\"']?[ \t]*:[ \t]+)({_VALUE}|[^\n|>{{\[][^\n]*)()",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(rf"([\"'{{,=]\s*[\"']?{_NAME}[\"']?:\s*)({_VALUE}|[^\s\"',{{\[}}][^\n,}}]*)()", re.IGNORECASE),
    re.compile(
        r"(\bauthorization[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)(?:\s|%20)+)?)([^\s\"',;]+)()", re.IGNORECASE
    ),
    re.compile(r"(\bbearer[ \t]+)([\w.~+/-]{6,}=*)()", re.IGNORECASE),
    re.compile(
        rf"(\bname[\"']?\s*:\s*[\"']?{_NAME}[\"']?,?\s*[\"']?value[\"']?\s*:\s*)({_VALUE}|[^\n,}}]+)()", re.IGNORECASE
    ),
)
_BLOCK = re.compile(
    rf"^([ \t]*)((?:- )*[\"']?{_NAME}[\"']?[ \t]*:[ \t]*)[|>][^\n]*\n(?:\1[ \t]+[^\n]*(?:\n|\Z)|[ \t]*\n)+",
    re.IGNORECASE | re.MULTILINE,
)


def is_secret(name: str, value: object) -> bool:
    """Whether what stands under this name (of a variable, a key, a header, an option) is one."""
    if not isinstance(value, str) or _NO_SECRET.fullmatch(value.strip()):
        return False
    if _IS_NAME.search(name) or (name.upper().endswith("_HEADERS") and _HEADERS.search(value)):
        return True
    return bool(_IS_HEADER.fullmatch(name)) or hidden(value) != value


def hidden(text: str) -> str:
    """A text without the passwords and tokens in it: a file, a command, what `kubectl describe` prints."""
    text = _PRIVATE_KEY.sub(LEFT_OUT, text)
    text = _BLOCK.sub(rf"\1\2{LEFT_OUT}\n", text)
    for shape in _SHAPES:
        text = shape.sub(_replaced, text)
    return text


def _replaced(match: re.Match[str]) -> str:
    before, value, after = match.groups()
    plain = value.strip().strip("\"'")
    if _NO_SECRET.fullmatch(plain) or plain.startswith(LEFT_OUT.split()[0]):
        return match[0]
    quote = value[0] if value[0] in "\"'" and value[-1] == value[0] else ""
    return f"{before}{quote}{LEFT_OUT}{quote}{after}"


def redacted(value: Any) -> Any:  # noqa: ANN401 (a value of somebody's YAML)
    """A copy of an object, or of a part of one, without what Secrets hold and without passwords elsewhere."""
    match value:
        case Mapping():
            return _mapping(value)
        case list() | tuple():
            return _list(value)
        case str():
            return _text(value)
    return value


def _mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    if value.get("kind") == "Secret" and isinstance(value.get("metadata"), Mapping):
        return _secret(value)
    told = {}
    for key, inner in value.items():
        # A variable and a header are a name and a value.
        name = str(value.get("name")) if key == "value" else str(key)
        told[key] = LEFT_OUT if is_secret(name, inner) and redacted(inner) == inner else redacted(inner)
    return told


def _secret(item: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: dict.fromkeys(item[key] or (), LEFT_OUT) for key in ("data", "stringData") if key in item}
    meta = {key: value for key, value in item["metadata"].items() if key != "annotations"}  # kubectl keeps a copy there
    return {**item, **told, "metadata": meta}


def _list(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Each item; of arguments, what follows an option that is called like a secret."""
    told = []
    before = ""
    for value in values:
        option = before.startswith("-") and "=" not in before and is_secret(before, value)
        told.append(LEFT_OUT if option and not value.startswith("-") else redacted(value))
        before = value if isinstance(value, str) else ""
    return told


def _text(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):  # as in kubectl's last-applied-configuration
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return hidden(text)
        told = redacted(parsed)
        return text if told == parsed else json.dumps(told, ensure_ascii=False)
    return hidden(text)
