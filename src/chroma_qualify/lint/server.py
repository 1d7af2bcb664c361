"""What a Chroma 1.x server is told: by its arguments, its environment and its file, as far as the objects say it.

As Chroma itself reads them (1.5.9, tried): without a file its options count and the environment does not; with a file
the environment beats it, `CHROMA_<KEY>` with `__` between the levels. The published image gives a file that says
`persist_path: /data` and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from chroma_qualify.lint.objects import (
    CHROMA_PORT,
    KubeObject,
    Workload,
    at,
    find,
    is_before_1_0,
    is_chroma,
    mapping,
    mappings,
    reference,
    strings,
)

UNSEEN = object()
"""The value of a setting that is there, and that the objects do not show."""

_PREFIX = "CHROMA_"
_IMAGE_FILE = "/config.yaml"
_IMAGE_SETTINGS = {"persist_path": "/data"}
_LOOPBACK = re.compile(r"^(127\.|localhost$|::1$|\[::1\]$)")
_OPTIONS = {"--path": "persist_path", "--host": "listen_address", "--port": "port"}
_OPTION_DEFAULTS = {"persist_path": "./chroma", "listen_address": "localhost"}
_DEFAULTS = {"persist_path": "./chroma", "listen_address": "0.0.0.0", "port": CHROMA_PORT}  # noqa: S104


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One thing that a container is told.

    Attributes:
        name: of the variable, or of the key in the file.
        value: as Chroma reads it; `UNSEEN` where the objects do not show it.
        object: `Kind/name` of where it stands; "" for a default of Chroma's or its image's.
        path: where in that object.
    """

    name: str
    value: object
    object: str = ""
    path: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """The server's file, or any other that it sees.

    Attributes:
        object: `Kind/name` of the ConfigMap or Secret.
        path: where in that object.
        text: what is in it.
        content: the same, parsed; empty where it is no mapping.
    """

    object: str
    path: str
    text: str
    content: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens; `source` says what decided the port."""

    address: str
    port: int
    source: str

    @property
    def loopback(self) -> bool:
        """Whether nothing outside the pod can connect."""
        return bool(_LOOPBACK.match(self.address))


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """What one container is told.

    Attributes:
        known: whether it can be told how Chroma is started: not so under somebody's own image without a command.
        file: the path of its file; "" where it is started with options.
        settings: by key in lower case, levels joined by dots: what counts in the end.
        all_seen: whether nothing that it reads is outside the objects.
        broken: its file, where that is no YAML.
    """

    known: bool
    file: str
    settings: Mapping[str, Setting]
    all_seen: bool
    broken: File | None = None

    def get(self, key: str) -> Setting | None:
        """What it is told for a key, its default included; None where that is not to be known."""
        if key in self.settings:
            found = self.settings[key]
            return None if found.value is UNSEEN else found
        if not self.known or not self.all_seen:
            return None
        return Setting(key, _DEFAULTS[key]) if key in _DEFAULTS else None

    @property
    def listening(self) -> Listening | None:
        """Where it listens, or None where that cannot be told."""
        address, port = self.get("listen_address"), self.get("port")
        if address is None or port is None or not str(port.value).isdecimal() or int(str(port.value)) >= 2**16:
            return None
        if port.name.startswith(("-", _PREFIX)):
            source = port.name
        else:
            source = f"port in {self.file}" if port.object else "the default"
        return Listening(str(address.value), int(str(port.value)), source)


def environment(objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any]) -> list[Setting]:
    """The container's variables, those that count only, from `env` and from `envFrom`; values as they stand."""
    found: dict[str, Setting] = {}
    for entry in mappings(container.get("envFrom")):
        prefix = str(entry.get("prefix") or "")
        for source in _sources(objects, workload, entry):
            for path, key, text in _entries(source):
                found[prefix + key] = Setting(prefix + key, text, reference(source), path)
    where = workload.path_of(container)
    for number, variable in enumerate(_listed(container.get("env"))):
        name = str(variable.get("name"))
        value = UNSEEN if "valueFrom" in variable else str(_plain(variable.get("value")))
        found[name] = Setting(name, value, workload.reference, f"{where}.env[{number}]")
    return list(found.values())


def files(objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any]) -> list[File]:
    """All that it sees of ConfigMaps and Secrets as files."""
    found = []
    for mount in mappings(container.get("volumeMounts")):
        volume = workload.volume(str(mount.get("name")))
        for kind, name in (
            ("ConfigMap", at(volume, "configMap", "name")),
            ("Secret", at(volume, "secret", "secretName")),
        ):
            source = find(objects, kind, str(name), workload.namespace)
            if source is not None:
                found += [File(reference(source), path, text, _parsed(text)) for path, _, text in _entries(source)]
    return list({(one.object, one.path): one for one in found}.values())


def server(objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any]) -> Server:
    """How Chroma is started in this container, and with what."""
    rest = None if is_before_1_0(container) else _arguments(container)
    if rest is None:
        return Server(known=False, file="", settings={}, all_seen=False)
    where = workload.path_of(container)
    options, path = _options(rest)
    if not path:
        given = {key: Setting(key, value) for key, value in _OPTION_DEFAULTS.items()}
        for name, text in options.items():
            given[_OPTIONS[name]] = Setting(name, _expanded(text), workload.reference, f"{where}.args")
        return Server(known=True, file="", settings=given, all_seen=True)
    settings: dict[str, Setting] = {}
    file, seen = _file(objects, workload, container, path)
    if file is not None:
        for key, value in _flat(file.content):
            settings[key.lower()] = Setting(key, value, file.object, file.path)
    elif seen and path == _IMAGE_FILE:
        settings |= {key: Setting(key, value) for key, value in _IMAGE_SETTINGS.items()}
    else:
        seen = False
    for variable in environment(objects, workload, container):
        if variable.name.startswith(_PREFIX):
            value = variable.value if variable.value is UNSEEN else _expanded(str(variable.value))
            key = variable.name.removeprefix(_PREFIX).lower().replace("__", ".")
            settings[key] = dataclasses.replace(variable, value=value)
    for entry in mappings(container.get("envFrom")):
        seen = seen and bool(list(_sources(objects, workload, entry)))
    broken = file if file is not None and not _is_yaml(file.text) else None
    return Server(known=True, file=path, settings=settings, all_seen=seen and broken is None, broken=broken)


def _arguments(container: Mapping[str, Any]) -> list[str] | None:
    """What follows `chroma run`; None where Chroma is not seen to be started like this."""
    command, given = strings(container.get("command")), strings(container.get("args"))
    words = [*command, *given]
    for number, word in enumerate(words):
        if re.search(r"(^|[\s/])chroma\s+run\b", word):  # of a shell
            line = re.split(r"[;&|\n]", re.split(r"(?:^|[\s/])chroma\s+run\b", word, maxsplit=1)[1])[0]
            try:
                return shlex.split(line)
            except ValueError:
                return None
        if word == "run" and number and re.search(r"(^|/)chroma$", words[number - 1]):
            return words[number + 1 :]
    if command or not is_chroma(container):
        return None
    if not given:
        return [_IMAGE_FILE]
    return given[1:] if given[0] == "run" else None


def _options(rest: Sequence[str]) -> tuple[dict[str, str], str]:
    """The options by name, and the file."""
    options: dict[str, str] = {}
    path, waiting = "", ""
    for word in rest:
        name, equals, value = word.partition("=")
        if waiting:
            options[waiting], waiting = word, ""
        elif name in _OPTIONS and equals:
            options[name] = value
        elif name in _OPTIONS:
            waiting = name
        elif not word.startswith("-"):
            path = path or word
    return options, path


def _file(
    objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any], path: str
) -> tuple[File | None, bool]:
    """The file at a path; and, where there is none, whether that is known: nothing is mounted there."""
    innermost, below = _covering(container, path)
    if innermost is None:
        return None, True
    volume = workload.volume(str(innermost.get("name")))
    for kind, field, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
        if field not in volume:
            continue
        source = find(objects, kind, str(at(volume, field, name)), workload.namespace)
        if source is None:
            return None, False
        items = mappings(at(volume, field, "items"))
        wanted = {str(item.get("path")): str(item.get("key")) for item in items}.get(below, below)
        for where, key, text in _entries(source):
            if key == wanted:
                return File(reference(source), where, text, _parsed(text)), True
    return None, False


def _covering(container: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any] | None, str]:
    """The innermost mount that a path is in, and the path below it."""
    best: tuple[Mapping[str, Any] | None, str] = (None, "")
    longest = -1
    for mount in mappings(container.get("volumeMounts")):
        directory = str(mount.get("mountPath") or "/nowhere").rstrip("/")
        if path == directory or path.startswith(f"{directory}/"):
            inner = path.removeprefix(directory).lstrip("/")
            below = "/".join(part for part in (str(mount.get("subPath") or ""), inner) if part)
            if len(directory) > longest:
                best, longest = (mount, below), len(directory)
    return best


def _sources(objects: Sequence[KubeObject], workload: Workload, entry: Mapping[str, Any]) -> Iterator[KubeObject]:
    """What an item of `envFrom` names, where it is among the objects."""
    for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        if field in entry:
            found = find(objects, kind, str(at(entry, field, "name")), workload.namespace)
            if found is not None:
                yield found


def _entries(source: KubeObject) -> Iterator[tuple[str, str, str]]:
    """(path in the object, key, text) of a ConfigMap's or Secret's contents, as a pod sees them."""
    secret = source.get("kind") == "Secret"
    for field in ("data", "stringData") if secret else ("data",):
        for key, value in mapping(source.get(field)).items():
            text = str(_plain(value))
            yield f"{field}[{str(key)!r}]", str(key), _decoded(text) if secret and field == "data" else text


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode(errors="replace")
    except (ValueError, binascii.Error):
        return text


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        return mapping(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}


def _is_yaml(text: str) -> bool:
    try:
        yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    except (ValueError, RecursionError):  # a date of no calendar, or too deep for us: not for us to say
        return True
    return True


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Every value with its keys joined by dots, and the mappings themselves."""
    for key, value in content.items():
        yield f"{above}{key}", value
        if isinstance(value, Mapping) and above.count(".") < 8:
            yield from _flat(value, f"{above}{key}.")


def _expanded(text: str) -> object:
    """The same as `_scalar`, where nothing is put in by Kubernetes (`$(NAME)`) or a shell."""
    return UNSEEN if re.search(r"\$[({A-Za-z_]", text) else _scalar(text)


def _scalar(text: str) -> object:
    """A variable's value as Chroma's reader of variables takes it: a number, a truth, a list, or else a string."""
    text = text.strip()
    if text in ("true", "false"):  # and nothing else: TRUE is a string, at which it stops
        return text == "true"
    if re.fullmatch(r"[+-]?\d{1,19}", text):
        return int(text)
    if re.fullmatch(r"[+-]?\d{1,19}\.\d{1,19}", text):
        return float(text)
    if text[:1] in ("[", "{"):
        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            return text
    return text[1:-1] if re.fullmatch(r'"[^"]*"', text) else text


def _plain(value: object) -> object:
    """A value of YAML's as Kubernetes would have it, which takes strings only."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def _listed(value: object) -> list[Mapping[str, Any]]:
    """The list as it stands, with empty ones for what is no mapping, so that numbers are right."""
    return [mapping(item) for item in value] if isinstance(value, list | tuple) else []
