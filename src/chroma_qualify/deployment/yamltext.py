"""YAML as a stranger writes it: read as Kubernetes reads it, safely, and within bounds.

Called by `manifests` (the objects), `places` (their lines) and `linting` (waivers). No tag makes anything but data; an
alias bomb, or nesting that would overflow the parser's stack, is refused before anything is built of it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import yaml

from chroma_qualify.errors import UsageError

MOST_BYTES = 16 * 2**20  # of one file; the API server takes less than 2 MiB for an object
_MOST_NODES = 2_000_000  # of one document with its aliases written out: far above what fits into MOST_BYTES by hand
_DEEPEST = 200  # levels; a pod template has about 12. libyaml's composer calls itself, on the C stack
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


class _Loader(_LOADER):  # type: ignore[misc]  # one of two classes
    """The safe loader, which takes for words what Kubernetes takes for words: times, dates, `1:30`, `=`."""


_TAG = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"^[-+]?(0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _NUMBER if tag == f"{_TAG}int" else pattern)
        for tag, pattern in resolvers
        if tag not in {f"{_TAG}timestamp", f"{_TAG}value"}
    ]
    for first, resolvers in _LOADER.yaml_implicit_resolvers.items()
}


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream.

    Attributes:
        value: what it holds.
        node: the same as libyaml's nodes, which know their lines (from 0); None: an empty document.
        number: from 1.
    """

    value: Any
    node: yaml.Node | None
    number: int


def decode(data: bytes, name: str) -> str:
    """The text of a file; `name` is for messages.

    Raises:
        UsageError: it is too large, or not UTF-8.
    """
    if len(data) > MOST_BYTES:
        raise UsageError(f"{name} is larger than {MOST_BYTES // 2**20} MiB", remedy="name Kubernetes manifests")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        said = f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at line {line}"
        raise UsageError(said, remedy="save it as UTF-8, or take it away if it is no manifest") from None


def documents(text: str, name: str) -> Iterator[Document]:
    """The documents of a YAML stream.

    Args:
        text: the stream.
        name: of the file, for messages.

    Raises:
        UsageError: one sentence on what is wrong, with the line.
    """
    try:
        _refuse_depth(text, name)
        loader = _Loader(text)
        try:
            number = 0
            while loader.check_node():
                number += 1
                node = loader.get_node()
                _refuse_bombs(node, name)
                yield Document(loader.construct_document(node), node, number)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _broken(error, name) from None
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:  # of a tag
        raise UsageError(f"{name} is broken YAML: it holds a value that cannot be read ({_words(error)})") from None


def _refuse_depth(text: str, name: str) -> None:
    """The parser's events come one after the other, whatever the nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                mark: Any = event.start_mark
                raise UsageError(f"{name} is nested deeper than {_DEEPEST} levels at line {mark.line + 1}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_bombs(node: yaml.Node, name: str) -> None:
    """An alias is the same node again: what it stands for is counted each time, and looked at once."""
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(each: yaml.Node) -> int:
        key = id(each)
        if key in above:
            raise UsageError(f"{name} holds, at line {each.start_mark.line + 1}, an alias to what it is itself part of")
        if key not in sizes:
            above.add(key)
            sizes[key] = 1 + sum(size(inner) for inner in _inner(each))
            above.discard(key)
        return sizes[key]

    if size(node) > _MOST_NODES:
        raise UsageError(f"{name} holds aliases that expand to more than {_MOST_NODES} values", remedy="write them out")


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value


def _broken(error: yaml.YAMLError, name: str) -> UsageError:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}" if mark else ""
    return UsageError(f"{name} is broken YAML{where}: {_words(getattr(error, 'problem', None) or error)}")


def _words(error: object) -> str:
    """What a library says, in one line."""
    return " ".join(str(error).split())[:200]
