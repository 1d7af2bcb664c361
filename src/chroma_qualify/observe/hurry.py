"""The same monitoring, quicker: alerts that wait minutes in production are seen to fire and to end within seconds.

Only how often something looks and how long it waits is changed, never what it looks at nor a threshold; a unit test
holds that. Used by the monitoring scenarios and by `stack`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from chroma_qualify.deployment.objects import KubeObject

EVERY = "5s"  # scrapes and evaluations; less, and a scrape may not end in time on a busy machine
WINDOW = "30s"  # of rates: several scrapes and several exports of the collector, also on a busy machine
LONG_WINDOW = "90s"  # of what happened once, so that nobody who looks for it misses it
HOLD = "2s"  # for which an alert must be true
_EXPORT = 2  # s
_VARIABLES = {"OTEL_METRIC_EXPORT_INTERVAL": str(_EXPORT * 1000), "CANARY_SECONDS": "2"}
_WINDOW = re.compile(r"\[\d+[smh]\]")
_FLUSH = re.compile(r"(metrics_flush_interval: )\w+")


def hurried(objects: Sequence[KubeObject]) -> list[KubeObject]:
    """Copies of rendered objects, in a hurry."""
    return [_hurry(copy.deepcopy(dict(item))) for item in objects]


def _hurry(item: dict[str, Any]) -> KubeObject:
    if change := _CHANGES.get(str(item.get("kind"))):
        change(item)
    return item


def _monitor(item: dict[str, Any]) -> None:
    for endpoint in item["spec"]["endpoints"]:
        endpoint |= {"interval": EVERY, "scrapeTimeout": EVERY}


def _prometheus(item: dict[str, Any]) -> None:
    item["spec"] |= {"scrapeInterval": EVERY, "evaluationInterval": EVERY}


def _rules(item: dict[str, Any]) -> None:
    for rule in (rule for group in item["spec"]["groups"] for rule in group["rules"]):
        rule["expr"] = _WINDOW.sub(_window, rule["expr"])
        if "for" in rule:
            rule["for"] = HOLD


def _window(found: re.Match[str]) -> str:
    return f"[{LONG_WINDOW if found.group() == '[15m]' else WINDOW}]"


def _environment(item: dict[str, Any]) -> None:
    for container in item["spec"]["template"]["spec"]["containers"]:
        for variable in container.get("env") or ():
            if variable["name"] in _VARIABLES:
                variable["value"] = _VARIABLES[variable["name"]]


def _collector(item: dict[str, Any]) -> None:
    for key, text in (item.get("data") or {}).items():
        item["data"][key] = _FLUSH.sub(rf"\g<1>{_EXPORT}s", text)


_CHANGES = {
    "ServiceMonitor": _monitor,
    "Prometheus": _prometheus,
    "PrometheusRule": _rules,
    "Deployment": _environment,
    "ConfigMap": _collector,
}
