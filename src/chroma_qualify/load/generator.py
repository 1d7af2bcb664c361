"""Open-loop query load from inside the cluster: pods that carry the backend's label and talk to the Service.

Used by the scale-out scenario and by tests/load. The program in the pod is images/loader/locustfile.py (Locust, fixed
arrival times); its report is read from the pod's log and judged by `measured`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kubernetes.client
import urllib3

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.access import OPEN
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
from chroma_qualify.load import inside, measured, peers

TENANT = "default_tenant"
DATABASE = "default_database"


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        collection: id (UUID) of the collection to query.
        rate: requests per second, evenly spaced.
        seconds: how long at most; `Loader.stop` ends it earlier.
        seed: of the query vectors.
        dimensions: of the collection; `k`: neighbours asked for.
        vectors: queries in one request; more cost the server more and the loader hardly.
        of_capacity: if not 0: send this many times what one closed loop found the server to do, at most `rate`.
        timeout: s from the due time until a query counts as failed.
        in_flight: queries that may be unanswered at once; beyond that they are dropped and counted as such.
    """

    collection: str
    rate: float
    seconds: int
    seed: int
    dimensions: int = 384
    k: int = 10
    vectors: int = 1
    of_capacity: float = 0.0
    timeout: float = 5.0
    in_flight: int = 32

    def environment(self, host: str, port: int) -> str:
        """The JSON object that the program in the pod reads from LOAD."""
        values: dict[str, object] = dataclasses.asdict(self)
        collection = values.pop("collection")
        path = f"/api/v2/tenants/{TENANT}/databases/{DATABASE}/collections/{collection}/query"
        return json.dumps({**values, "host": host, "port": port, "path": path})


COMMAND = (
    "python3", "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING",
    "--exit-code-on-error", "0", "--locustfile", "/app/locustfile.py",
)  # fmt: skip


class Loader:
    """A running load; a context manager that leaves no pod behind."""

    def __init__(self, pod: inside.Pod) -> None:
        self.pod = pod

    @classmethod
    def start(cls, deployed: Deployed, plan: Plan, *, name: str = "loader", timeout: float = 240) -> Self:
        """Start a loader pod and wait until it sends.

        Raises:
            UndecidedError: the policies admit no backend, or the server asks for a token, so no load can be sent.
            CandidateError: the server answers no query.
            InfraError: the pod does not get going.
        """
        peer = peers.backend(deployed.candidate)
        if peer is None or peer.namespace_labels is not None:
            raise UndecidedError(
                "the NetworkPolicies admit no backend pod of Chroma's own namespace, so query load cannot be sent",
                remedy="admit the backend by a podSelector",
            )
        if deployed.credentials != OPEN:
            raise UndecidedError(
                "the loader's program sends no token and speaks no TLS, so query load cannot be sent",
                remedy="measure the scale-out without the proxy",
            )
        host = f"{deployed.candidate.service}.{deployed.namespace}.svc.cluster.local"
        wanted = inside.Wanted(
            name=name,
            namespace=deployed.namespace,
            labels=peer.pod_labels,
            command=COMMAND,
            environment={"LOAD": plan.environment(host, deployed.candidate.service_port)},
            # Its share of the CPU is what keeps it on time; Chroma asks for 250m. More of it and a node of
            # 2 cores has no room left for three replicas.
            cpu="150m",
        )
        (pod,) = inside.start(deployed.cluster, [wanted])
        loader = cls(pod)
        try:
            loader._wait_until_sending(timeout)
        except BaseException:
            inside.remove([pod])
            raise
        return loader

    def __enter__(self) -> Self:
        """The loader itself; it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the pod."""
        inside.remove([self.pod])

    def log(self) -> str:
        """What the pod has printed so far."""
        place = ["-n", self.pod.namespace, self.pod.name, "-c", self.pod.container]
        return self.pod.cluster.run_kubectl("logs", *place).stdout

    def now(self) -> float:
        """The time by the clock of the pod's node, s since the epoch: what `measured.Load.span` is asked with."""
        return float(self.pod.run("python3", "-c", "import time; print(time.time())").stdout)

    def stop(self, keep: Path | None = None, *, timeout: float = 180) -> measured.Load:
        """End the timetable now, let what is under way be answered, and read the whole report; as `finish`."""
        self.pod.run("python3", "-c", "import os, signal; os.kill(1, signal.SIGUSR1)", check=False)
        return self.finish(keep, timeout=timeout)

    def finish(self, keep: Path | None = None, *, timeout: float) -> measured.Load:
        """Wait for the end of the timetable and read the whole report.

        Args:
            keep: file that the pod's log is written to, for the run directory.
            timeout: seconds until the pod must have ended.

        Raises:
            InfraError: the pod does not end, or its report is cut short.
        """
        self._wait("the loader to end", lambda pod: pod.status.phase in {"Succeeded", "Failed"}, timeout)
        text = self.log()
        if keep is not None:
            keep.parent.mkdir(parents=True, exist_ok=True)
            keep.write_text(text)
        load = measured.parse(text)
        if not load.ended:
            raise InfraError("the loader's report is cut short", evidence="\n".join(load.said[-10:]))
        return load

    def _wait_until_sending(self, timeout: float) -> None:
        """Follow the log up to the line that says that the timetable began."""
        said = b""
        with self.pod.cluster.api_client() as api:
            log = kubernetes.client.CoreV1Api(api).read_namespaced_pod_log(
                self.pod.name, self.pod.namespace, container=self.pod.container, follow=True,
                _preload_content=False, _request_timeout=(5, timeout),
            )  # fmt: skip
            try:
                for chunk in log.stream(decode_content=False):
                    said += chunk
                    if b'"kind": "start"' in said:
                        return
            except urllib3.exceptions.HTTPError as error:
                said += f"\n({type(error).__name__})".encode()
            finally:
                log.close()
        evidence = said.decode(errors="replace")[-600:]
        if b'"kind": "unanswered"' in said:
            raise CandidateError("queries-unanswered", "no query of a backend pod is answered", evidence=evidence)
        raise InfraError(f"the loader did not begin to send within {timeout:.0f} s", evidence=evidence)

    def _wait(self, what: str, condition: Any, timeout: float) -> None:  # noqa: ANN401
        def met(pods: Mapping[str, Any]) -> bool:
            return self.pod.name in pods and bool(condition(pods[self.pod.name]))

        try:
            with self.pod.cluster.api_client() as api:
                wait_for(
                    what,
                    kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                    met,
                    timeout=timeout,
                    describe=inside.describe,
                    namespace=self.pod.namespace,
                    field_selector=f"metadata.name={self.pod.name}",
                )
        except WaitTimeoutError as error:
            raise InfraError(error.message) from error
