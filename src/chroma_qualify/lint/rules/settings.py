"""Settings that a Chroma 1.x server does not read. `engine` runs this.

Chroma takes what it knows and says nothing of the rest. Those who set up authentication of 0.x believe that they are
protected, and those who misspell a key, that it is set.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, Workload, chroma_workloads, is_before_1_0
from chroma_qualify.lint.server import UNSEEN, Setting, environment, files, server

_AUTH_VARIABLE = re.compile(r"CHROMA_(SERVER_)?AUTH[NZ]?_\w+")
_AUTH_KEY = re.compile(r"(chroma_)?(server_)?auth[nz]?(_\w+)?", re.IGNORECASE)
_OFF = ("", "none", "false")
# What 1.5.9 has at the top of its configuration, as its binary names them.
KEYS = frozenset(
    {
        "allow_reset",
        "circuit_breaker",
        "collections_with_segments_provider",
        "cors_allow_origins",
        "default_knn_index",
        "enable_log_scouting",
        "enable_schema",
        "enable_span_indexing",
        "executor",
        "listen_address",
        "log",
        "max_payload_size_bytes",
        "mcmr_sysdb",
        "min_records_for_invocation",
        "open_telemetry",
        "persist_path",
        "port",
        "region",
        "scorecard",
        "scorecard_enabled",
        "segment_manager",
        "sqlite_filename",
        "sqlitedb",
        "stdout_tracing",
        "sysdb",
        "tenants_to_migrate_immediately",
        "tenants_to_migrate_immediately_threshold",
        "tenants_with_maxscore_enabled",
        "tenants_with_quantization_enabled",
    }
)
# Variables of 0.x without the prefix: of 1.x's names there is none.
_OF_0_X = frozenset({"ALLOW_RESET", "ANONYMIZED_TELEMETRY", "IS_PERSISTENT", "MIGRATIONS", "PERSIST_DIRECTORY"})
_INSTEAD = {
    "allow_reset": "nothing: leave it off",
    "anonymized_telemetry": "nothing: 1.5.4 and later send none",
    "chroma_memory_limit_bytes": "the container's memory limit",
    "chroma_segment_cache_policy": "segment_manager",
    "is_persistent": "nothing: it always keeps its data",
    "persist_directory": "persist_path",
    "server_cors_allow_origins": "cors_allow_origins",
    "server_host": "listen_address",
    "server_http_port": "port",
}


def ignored_setting(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `ignored-setting`: authentication of Chroma 0.x, its other settings, misspelt ones, all ignored."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            if is_before_1_0(container):
                continue
            protection, others, unread = _ignored(objects, workload, container)
            for source, found in protection.items():
                yield Finding(
                    "ignored-setting",
                    Severity.FAIL,
                    f"{source} sets up Chroma 0.x authentication, which Chroma 1.x ignores: whoever reaches the port "
                    "needs no credential.",
                    f"{', '.join(sorted({one.name for one in found}))} (values not shown)",
                    "Remove these settings, and put an authenticating proxy in front of Chroma.",
                    source,
                    path=found[0].path,
                )
            for source, found in others.items():
                names = sorted({one.name for one in found})
                hints = [f"{name}: {hint}" for name in names if (hint := _instead(name))]
                yield Finding(
                    "ignored-setting",
                    Severity.NOTE,
                    f"{source} sets what Chroma 1.x does not know and ignores without a word: {', '.join(names)}.",
                    f"{', '.join(names)} (values not shown)",
                    f"Remove them, or use what there is: {'; '.join(hints)}." if hints else "Remove them.",
                    source,
                    path=found[0].path,
                )
            for source, found in unread.items():
                names = sorted({one.name for one in found})
                yield Finding(
                    "ignored-setting",
                    Severity.NOTE,
                    f"Chroma is started with options, and then reads no variables: {', '.join(names)} of {source} "
                    "count for nothing.",
                    f"{', '.join(names)}; no file among the arguments of container {container.get('name')}",
                    "Start it with a file (`chroma run /config.yaml`), or say it by options: --path, --host, --port.",
                    source,
                    path=found[0].path,
                )


_Sorted = dict[str, list[Setting]]


def _ignored(
    objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any]
) -> tuple[_Sorted, _Sorted, _Sorted]:
    """What is ignored, by the object that says it: 0.x authentication, unknown things, and known ones unread."""
    protection: _Sorted = defaultdict(list)
    others: _Sorted = defaultdict(list)
    unread: _Sorted = defaultdict(list)
    started = server(objects, workload, container)
    for variable in environment(objects, workload, container):
        key = variable.name.removeprefix("CHROMA_").lower().partition("__")[0]
        if _AUTH_VARIABLE.fullmatch(variable.name):
            if variable.value is UNSEEN or _on(variable.value):
                protection[variable.object].append(variable)
        elif variable.name in _OF_0_X:
            others[variable.object].append(variable)
        elif not variable.name.startswith("CHROMA_") or variable.name.startswith("CHROMA_CLIENT_"):
            continue
        elif key not in KEYS:
            others[variable.object].append(variable)
        elif started.known and not started.file:
            unread[variable.object].append(variable)
    for file in files(objects, workload, container):
        found = [key for key, value in file.content.items() if _AUTH_KEY.fullmatch(str(key)) and _on(value)]
        protection[file.object] += [Setting(str(key), None, file.object, file.path) for key in found]
    for key, setting in started.settings.items():
        is_key = setting.object and not setting.name.startswith(("CHROMA_", "-")) and "." not in key
        if is_key and key not in KEYS and not _AUTH_KEY.fullmatch(key):
            others[setting.object].append(setting)
    return ({k: v for k, v in protection.items() if v}, others, unread)


def _instead(name: str) -> str:
    """What there is in 1.x in its place, or ""."""
    key = name.removeprefix("CHROMA_").lower()
    if found := _INSTEAD.get(name.lower()) or _INSTEAD.get(key):
        return found
    alike = difflib.get_close_matches(key.partition("__")[0], sorted(KEYS), n=1, cutoff=0.8)
    return alike[0] if alike else ""


def _on(value: object) -> bool:
    """Whether a setting says something: an empty or null provider is how 0.x was told to have none."""
    return value is not None and str(value).strip().lower() not in _OFF
