"""What a Prometheus in the cluster knows, asked over its HTTP API.

Used by the monitoring scenarios, through a port-forward. Prometheus tells nobody when something changes, so what is
waited for is polled. https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import httpx
import tenacity

from chroma_qualify.cluster.wait import poll_for
from chroma_qualify.errors import InfraError

_TIMEOUT = 15.0  # s, for one answer
_PATIENCE = 60.0  # s that it may not answer, as while its pod starts
_LOOK_EVERY = 0.5  # s
_NUDGE_EVERY = 5.0  # s


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant vector, now."""

    labels: Mapping[str, str]
    value: float


@dataclasses.dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """Something that is scraped.

    Attributes:
        monitor: name of the ServiceMonitor that it comes from.
        health: `up`, `down`, or `unknown` before the first scrape.
        error: of the latest scrape, or "".
    """

    monitor: str
    namespace: str
    service: str
    url: str
    health: str
    error: str


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """An alert that is `pending` or `firing`."""

    name: str
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Prometheus:
    """A Prometheus at a URL; a context manager. Its methods raise InfraError when it does not answer, or refuses.

    Args:
        url: its own.
        nudge: makes it take up a changed configuration soon; called now and then while targets are waited for.
    """

    def __init__(self, url: str, nudge: Callable[[], None] = lambda: None) -> None:
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False)
        self._nudge = nudge
        self._nudged = -_NUDGE_EVERY

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def query(self, expression: str) -> tuple[Sample, ...]:
        """The series of an instant vector, or a scalar as one series without labels."""
        data = self._get("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return (Sample({}, float(data["result"][1])),)
        return tuple(Sample(one["metric"], float(one["value"][1])) for one in data["result"])

    def targets(self, namespace: str) -> tuple[ScrapeTarget, ...]:
        """What is scraped in a namespace."""
        found = []
        for one in self._get("/api/v1/targets", state="active")["activeTargets"]:
            labels = one["discoveredLabels"]
            if labels.get("__meta_kubernetes_namespace") == namespace:
                monitor = str(one["scrapePool"]).split("/")[2]  # serviceMonitor/NAMESPACE/NAME/NUMBER
                service = labels.get("__meta_kubernetes_service_name", "")
                found.append(
                    ScrapeTarget(monitor, namespace, service, one["scrapeUrl"], one["health"], one["lastError"])
                )
        return tuple(found)

    def alerts(self, namespace: str) -> tuple[Alert, ...]:
        """What is pending or firing with this namespace as label."""
        found = (
            Alert(one["labels"]["alertname"], one["state"], one["labels"], one["annotations"])
            for one in self._get("/api/v1/alerts")["alerts"]
        )
        return tuple(alert for alert in found if alert.labels.get("namespace") == namespace)

    def wait_targets(
        self, namespace: str, condition: Callable[[tuple[ScrapeTarget, ...]], bool], *, what: str, timeout: float
    ) -> tuple[ScrapeTarget, ...]:
        """Wait until what is scraped in a namespace is as wanted.

        Raises:
            WaitTimeoutError: with the targets as last seen.
        """

        def look() -> tuple[ScrapeTarget, ...]:
            if time.monotonic() - self._nudged > _NUDGE_EVERY:
                self._nudged = time.monotonic()
                self._nudge()
            return self.targets(namespace)

        return poll_for(what, look, condition, timeout, _LOOK_EVERY)

    def wait_alerts(self, namespace: str, names: Collection[str], *, firing: bool, timeout: float) -> tuple[Alert, ...]:
        """Wait until all these alerts fire, or none of them is even pending.

        Raises:
            WaitTimeoutError: with the alerts as last seen.
        """

        def condition(alerts: tuple[Alert, ...]) -> bool:
            if firing:
                return set(names) <= {alert.name for alert in alerts if alert.state == "firing"}
            return not set(names) & {alert.name for alert in alerts}

        what = f"{', '.join(sorted(names))} to {'fire' if firing else 'resolve'}"
        return poll_for(what, lambda: self.alerts(namespace), condition, timeout, _LOOK_EVERY)

    def wait_data(self, expression: str, *, timeout: float) -> tuple[Sample, ...]:
        """Wait until a query returns something.

        Raises:
            WaitTimeoutError: it does not.
        """
        return poll_for(f"data of {expression}", lambda: self.query(expression), bool, timeout, _LOOK_EVERY)

    def _get(self, path: str, **arguments: str) -> Any:  # noqa: ANN401 (as the API has it)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            wait=tenacity.wait_exponential(multiplier=0.2, max=2),
            stop=tenacity.stop_after_delay(_PATIENCE),
            reraise=True,
        )
        try:
            answer = retrying(self._ask, path, arguments)
        except httpx.HTTPStatusError as error:
            said = error.response.text[:400]
            raise InfraError(f"Prometheus refuses {path} {arguments}: {said}") from error
        except httpx.HTTPError as error:
            raise InfraError(f"Prometheus does not answer for {_PATIENCE:.0f} s: {error!r}") from error
        return answer["data"]

    def _ask(self, path: str, arguments: Mapping[str, str]) -> Any:  # noqa: ANN401
        return self._http.get(path, params=dict(arguments)).raise_for_status().json()


def _passes(error: BaseException) -> bool:
    """Whether it may answer when asked again: no answer, or not ready yet."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {502, 503, 504}
    return isinstance(error, httpx.TransportError)
