"""Settings that Chroma does read, and that stop it, open it or break it. `engine` runs these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    chroma_workloads,
    is_before_1_0,
    mappings,
    name_of,
    namespace_of,
    of_kind,
    strings,
)
from chroma_qualify.lint.secrets import is_secret, redacted
from chroma_qualify.lint.server import UNSEEN, Server, Setting, environment, files, server

_BOOLEANS = ("allow_reset", "enable_span_indexing", "scorecard_enabled", "stdout_tracing")
_STRINGS = ("listen_address", "open_telemetry.endpoint", "open_telemetry.service_name", "persist_path",
            "sqlite_filename")  # fmt: skip
_NUMBERS = {"circuit_breaker.requests": 2**32, "max_payload_size_bytes": 2**63, "port": 2**16}
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KINDS = ((bool, "a boolean"), (str, "a string"), (int | float, "a number"), (list, "a list"), (Mapping, "a mapping"))
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def _servers(objects: Sequence[KubeObject]) -> Iterator[tuple[Workload, Mapping[str, Any], Server]]:
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            yield workload, container, server(objects, workload, container)


def config_invalid(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `config-invalid`: a value of a type that Chroma does not expect, or a file that is no YAML; it stops."""
    for workload, _, told in _servers(objects):
        if told.broken is not None:
            file = Setting(told.file, {}, told.broken.object, told.broken.path)
            yield _invalid(workload, file, f"{told.file} is no YAML", "Correct the file; a YAML linter names the line.")
        for key, setting in told.settings.items():
            wanted = _wanted(key, setting.value)
            if wanted:
                yield _invalid(workload, setting, f"{setting.name} is no {wanted}", f"Make it a {wanted}.")
        for above, needed in (("circuit_breaker", "requests"), ("open_telemetry", "endpoint")):
            parts = [one for key, one in told.settings.items() if key == above or key.startswith(f"{above}.")]
            if parts and parts[0].value is not None and told.all_seen and f"{above}.{needed}" not in told.settings:
                yield _invalid(
                    workload, parts[0], f"{above} lacks {needed}", f"Set {above}.{needed}, or remove it all."
                )


def _wanted(key: str, value: object) -> str:
    """What a key's value must be and is not, or ""."""
    if value is UNSEEN or value is None:
        return ""
    if key in _BOOLEANS and not isinstance(value, bool):
        return "boolean (true or false, without quotes)"
    if key in _STRINGS and not isinstance(value, str):
        return "string (put it in quotes)"
    if key in _NUMBERS:
        number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _NUMBERS[key]
        return "" if number else "whole number (without quotes or units)"
    if key == "cors_allow_origins" and not isinstance(value, list):
        return 'list (like ["https://app.example"])'
    return ""


def _invalid(workload: Workload, setting: Setting, why: str, remedy: str) -> Finding:
    # A number or a boolean tells no secret, unless it stands in one; anything else may be one in the wrong place.
    plain = isinstance(setting.value, bool | int | float) and not setting.object.startswith("Secret/")
    kind = next((words for kind, words in _KINDS if isinstance(setting.value, kind)), "of another type")
    shown = "" if isinstance(setting.value, Mapping) else f": {setting.value if plain else kind}"
    return Finding(
        "config-invalid",
        Severity.FAIL,
        f"Chroma of {workload.reference} stops at start, again and again: {why}.",
        f"{setting.name}{shown}",
        remedy,
        setting.object or workload.reference,
        path=setting.path,
    )


def allow_reset(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `allow-reset`: whoever reaches the port can wipe everything."""
    for workload, container, told in _servers(objects):
        setting = told.settings.get("allow_reset")
        if is_before_1_0(container):
            variables = [one for one in environment(objects, workload, container) if one.name == "ALLOW_RESET"]
            setting = next((one for one in variables if str(one.value).lower() in ("true", "1")), None)
        if setting is not None and (setting.value is True or is_before_1_0(container)):
            yield Finding(
                "allow-reset",
                Severity.FAIL,
                f"One POST to /api/v2/reset deletes all data of {workload.reference}, and Chroma asks nobody for a "
                "credential.",
                f"{setting.name}: {str(setting.value).lower()}",
                f"Remove {setting.name}: without it the answer is 403.",
                setting.object,
                path=setting.path,
            )


def circuit_breaker(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `circuit-breaker`: it answers probes too, and never forgives a client's time-out."""
    for workload, _, told in _servers(objects):
        setting = told.settings.get("circuit_breaker.requests")
        if setting is not None and isinstance(setting.value, int) and setting.value > 0:
            yield Finding(
                "circuit-breaker",
                Severity.FAIL,
                f"Under load Chroma of {workload.reference} answers 429 to its own probes, and after "
                f"{setting.value} requests whose clients gave up it answers 429 to everything until it is restarted.",
                f"{setting.name}: {setting.value}",
                "Set circuit_breaker.requests to 0, which is off, and limit requests in a proxy.",
                setting.object,
                path=setting.path,
            )


def cors_any(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `cors-any`: a page from anywhere may use a visitor's browser to read the data."""
    for workload, _, told in _servers(objects):
        setting = told.settings.get("cors_allow_origins")
        if setting is not None and isinstance(setting.value, list) and "*" in setting.value:
            yield Finding(
                "cors-any",
                Severity.NOTE,
                f"Any web page may ask Chroma of {workload.reference} for data, from the browser of whoever can reach "
                "its port.",
                f'{setting.name}: ["*"]',
                "Name the origins that need it, or remove it: servers need no CORS.",
                setting.object,
                path=setting.path,
            )


def secret_in_config(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `secret-in-config`: a password or token in a ConfigMap, in a plain variable, or in the printed file."""
    for workload in chroma_workloads(objects):
        for container in workload.containers:
            for variable in environment(objects, workload, container):
                if not variable.object.startswith("Secret/") and is_secret(variable.name, variable.value):
                    yield _exposed(variable, "whoever may read it, or the pod, has it")
            for place in _in_command(workload, container):
                yield _exposed(place, "whoever may read it, or the pod, has it")
    for workload, container, told in _servers(objects):
        for setting in told.settings.values():
            from_file = setting.object and not setting.name.startswith(("CHROMA_", "-"))
            if from_file and is_secret(setting.name, setting.value):
                yield _exposed(setting, "Chroma prints this file to its log at each start")
        for file in files(objects, workload, container):
            if file.object.startswith("ConfigMap/") and _PRIVATE_KEY.search(file.text):
                whole = Setting("private key", "", file.object, file.path)
                yield _exposed(whole, "whoever may read the ConfigMap has it")


def _in_command(workload: Workload, container: Mapping[str, Any]) -> Iterator[Setting]:
    """Secrets in what a container runs, and in the headers of its probes."""
    where = workload.path_of(container)
    for field in ("command", "args"):
        words = strings(container.get(field))
        if redacted(words) != words:
            yield Setting(field, "", workload.reference, f"{where}.{field}")
    for probe in _PROBES:
        for number, header in enumerate(mappings(at(container, probe, "httpGet", "httpHeaders"))):
            if is_secret(str(header.get("name")), header.get("value")):
                place = f"{where}.{probe}.httpGet.httpHeaders[{number}]"
                yield Setting(f"header {header.get('name')} of the {probe}", "", workload.reference, place)
        words = strings(at(container, probe, "exec", "command"))
        if redacted(words) != words:
            yield Setting(f"command of the {probe}", "", workload.reference, f"{where}.{probe}.exec.command")


def _exposed(setting: Setting, why: str) -> Finding:
    return Finding(
        "secret-in-config",
        Severity.FAIL,
        f"{setting.object} holds a secret in plain text ({setting.name}): {why}.",
        f"{setting.name} (value not shown)",
        "Take it from a Secret (secretKeyRef or a file), and change it: it has been seen. Chroma itself needs none.",
        setting.object,
        path=setting.path,
    )


def service_links(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `service-links`: a Service named `chroma` makes Kubernetes set CHROMA_PORT to a URL."""
    for workload, container, told in _servers(objects):
        # With options it reads no variables; and its own variable comes before the one of Kubernetes.
        own = any(one.name == "CHROMA_PORT" for one in environment(objects, workload, container))
        if workload.pod.get("enableServiceLinks") is False or own or not told.known or not told.file:
            continue
        for service in of_kind(objects, "Service"):
            headless = at(service, "spec", "clusterIP") == "None" or at(service, "spec", "type") == "ExternalName"
            if name_of(service) == "chroma" and namespace_of(service) == workload.namespace and not headless:
                yield Finding(
                    "service-links",
                    Severity.FAIL,
                    "Kubernetes sets CHROMA_PORT=tcp://… in new pods because of the Service named `chroma`; Chroma "
                    "takes it for its port and stops.",
                    f"Service chroma; {workload.reference} does not set enableServiceLinks: false",
                    "Set enableServiceLinks: false in the pod template, or give that Service another name.",
                    workload.reference,
                    path=f"{workload.pod_path}.enableServiceLinks",
                )
