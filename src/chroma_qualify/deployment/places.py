"""Where in the files of a set of manifests a finding is: for an editor, a code review, a list of alerts.

What kustomize renders has no lines, so the object is looked for in the files that the kustomization takes: by kind and
name, then along the finding's path as far as a file goes. Where nothing is found it is the kustomization itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.deployment.manifests import KUSTOMIZATIONS, STDIN, WAIVERS, named_by, yaml_files
from chroma_qualify.deployment.yamltext import MOST_BYTES, decode, documents
from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Finding
from chroma_qualify.lint.waivers import EXPIRED, UNUSED

_MOST_FILES = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A file, and the line from 1."""

    file: str
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Written:
    """An object as somebody wrote it, whole or as a patch, or what makes it (a generator)."""

    file: Path
    node: yaml.Node
    kind: str
    name: str
    rank: int  # 0: written whole; 1: a generator; 2: a patch


def places_of(what: str, findings: Iterable[Finding]) -> dict[Finding, Place]:
    """The places of the findings that have one.

    Args:
        what: the directory or file, as it was named; of a stream nothing has a place.
        findings: of its lint.
    """
    found = list(findings)
    if what == STDIN or not found:
        return {}
    path = Path(what)
    root = path.parent if path.name in KUSTOMIZATIONS else path
    written = list(_written(root)) if root.is_dir() else list(_of_file(root, 0))
    fallback = Place(str(_main_file(root)), 1)
    return {each: _of_waiver(each) or _place(each, written) or fallback for each in found}


def _main_file(root: Path) -> Path:
    if not root.is_dir():
        return root
    there = [root / name for name in KUSTOMIZATIONS if (root / name).is_file()] + yaml_files(root)
    return there[0] if there else root


def _of_waiver(finding: Finding) -> Place | None:
    """What is wrong with a waiver is wrong in its file, which the evidence names."""
    if finding.rule not in (EXPIRED, UNUSED):
        return None
    said = re.match(r"(.*?): waiver (\d+): ", finding.evidence, re.DOTALL)
    if said is None:
        return Place(WAIVERS, 1)
    root = next((node for _, node in _read(Path(said[1]))), None)
    entries = root.value if isinstance(root, yaml.SequenceNode) else []
    mark: Any = entries[int(said[2]) - 1].start_mark if int(said[2]) <= len(entries) else None
    return Place(said[1], mark.line + 1 if mark else 1)


def _place(finding: Finding, written: Iterable[_Written]) -> Place | None:
    kind, _, name = finding.object.partition("/")
    best: tuple[tuple[int, int, int], Place] | None = None
    for each in written:
        if each.kind != kind or not each.name or each.name not in name:  # kustomize puts words before and behind
            continue
        node, depth = _follow(each.node, finding.path) if each.rank != 1 else (each.node, 0)
        merit = (int(each.name == name), depth, -each.rank)
        if best is None or merit > best[0]:
            mark: Any = node.start_mark
            best = (merit, Place(str(each.file), mark.line + 1))
    return best[1] if best else None


def _follow(node: yaml.Node, path: str) -> tuple[yaml.Node, int]:
    """The node that a path leads to, as far as it goes, and how many steps that is. A field's line is its name's."""
    shown, depth = node, 0
    while path:
        if isinstance(node, yaml.SequenceNode) and (index := re.match(r"\[(\d{1,6})\]\.?", path)):
            if int(index[1]) >= len(node.value):
                break
            node = shown = node.value[int(index[1])]
            path = path[index.end() :]
        elif isinstance(node, yaml.MappingNode):
            fits = [(key, value) for key, value in node.value if _begins(path, str(key.value))]
            if not fits:
                break
            shown, node = max(fits, key=lambda pair: len(pair[0].value))
            path = _rest(path, str(shown.value))
        else:
            break
        depth += 1
    return shown, depth


def _begins(path: str, key: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}[", f"['{key}']"))


def _rest(path: str, key: str) -> str:
    """What follows a key, which stands in brackets where it is no plain word."""
    quoted = f"['{key}']"
    return path[len(quoted if path.startswith(quoted) else key) :].removeprefix(".")


def _written(directory: Path, seen: set[Path] | None = None) -> Iterator[_Written]:
    """Everything that a directory's objects are made of, its own files first."""
    seen = set() if seen is None else seen
    if directory.resolve() in seen or len(seen) > _MOST_FILES:
        return
    seen.add(directory.resolve())
    kustomization = next((directory / name for name in KUSTOMIZATIONS if (directory / name).is_file()), None)
    if kustomization is None:
        for path in yaml_files(directory):
            yield from _of_file(path, 0)
        return
    for value, node in _read(kustomization):
        yield from _generated(kustomization, node)
        for entry in _patches(value):
            yield from _of_file(directory / entry, 2)
        for entry in named_by(value):
            if (directory / entry).is_dir():
                yield from _written(directory / entry, seen)
            else:
                yield from _of_file(directory / entry, 0)


def _patches(kustomization: Any) -> Iterator[str]:  # noqa: ANN401 (anything can be in a YAML file)
    fields = kustomization if isinstance(kustomization, dict) else {}
    for key in ("patches", "patchesStrategicMerge", "patchesJson6902"):
        for entry in fields[key] if isinstance(fields.get(key), list) else ():
            named = entry.get("path") if isinstance(entry, dict) else entry
            if isinstance(named, str) and "\n" not in named:
                yield named


def _generated(kustomization: Path, root: yaml.Node) -> Iterator[_Written]:
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        entries = _child(root, key)
        for entry in entries.value if isinstance(entries, yaml.SequenceNode) else ():
            yield _Written(kustomization, entry, kind, _text(_child(entry, "name")), 1)


def _of_file(path: Path, rank: int) -> Iterator[_Written]:
    for _, root in _read(path):
        items = _child(root, "items") if _text(_child(root, "kind")).endswith("List") else None
        for node in items.value if isinstance(items, yaml.SequenceNode) else (root,):
            yield _Written(
                path, node, _text(_child(node, "kind")), _text(_child(_child(node, "metadata"), "name")), rank
            )


def _read(path: Path) -> list[tuple[Any, yaml.Node]]:
    """Values and nodes of a file's documents; nothing of one that cannot be read, for only a line is missing then."""
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            text = decode(file.read(MOST_BYTES + 1), str(path))
        return [(each.value, each.node) for each in documents(text, str(path)) if each.node is not None]
    except (OSError, UsageError, ValueError):
        return []


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
