"""Open-loop query load from inside the cluster: pods that carry the backend's label and talk to the Service.

Used by the scale-out scenario and by tests/load. The program in the pod is images/loader/locustfile.py (Locust, fixed
arrival times); its report is read from the pod's log and judged by `measured`. One machine sends only so much: with
`--load-pods N` the rate is divided among N pods, Locust's distributed workers, and their reports are added up.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
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

    def shares(self, parts: int) -> list[Plan]:
        """The same load, divided among several that send at the same time, each its own queries."""
        return [
            dataclasses.replace(
                self, rate=self.rate / parts, seed=self.seed + number, in_flight=max(-(-self.in_flight // parts), 1)
            )
            for number in range(parts)
        ]


COMMAND = (
    "python3", "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING",
    "--exit-code-on-error", "0", "--locustfile", "/app/locustfile.py",
)  # fmt: skip


# The master of several loaders; its arguments are Locust's. When one of them has ended it would give that one's
# user to another, which would begin its timetable a second time: so it starts once.
MASTER = """
from locust import main, runners
start, begun = runners.MasterRunner.start, []
def once(self, *args, **kwargs):
    if not begun:
        begun.append(True)
        start(self, *args, **kwargs)
runners.MasterRunner.start = once
main.main()
"""
_PORT = 5557  # Locust's


def master_command(workers: int, *, wait: int = 240) -> tuple[str, ...]:
    """The program that lets so many loaders begin at one moment, once all are there (at most `wait` s)."""
    user = json.dumps({"user_class_name": "Backend", "fixed_count": workers})  # the class in locustfile.py
    return (
        "python3", "-c", MASTER, *COMMAND[3:], "--master", "--config-users", user, "--users", str(workers),
        "--spawn-rate", str(workers), "--expect-workers", str(workers), "--expect-workers-max-wait", str(wait),
    )  # fmt: skip


def worker_command(host: str, port: int = _PORT) -> tuple[str, ...]:
    """The program of one of several loaders: the same, told by the master when to begin."""
    return (*COMMAND, "--worker", "--master-host", host, "--master-port", str(port))


class Loader:
    """A running load; a context manager that leaves no pod behind.

    Attributes:
        pods: those that send.
    """

    def __init__(self, pods: Sequence[inside.Pod], master: inside.Pod | None = None) -> None:
        self.pods = tuple(pods)
        self._all = (*self.pods, *([master] if master else ()))

    @classmethod
    def start(
        cls, deployed: Deployed, plan: Plan, *, name: str = "loader", pods: int = 1, timeout: float = 240
    ) -> Self:
        """Start loader pods and wait until they send.

        Args:
            deployed: whose Service is queried.
            plan: what all of them send together.
            name: of the pod; of several, with a number behind it.
            pods: how many; with more than one Locust's master, a pod of its own, lets them begin at one moment.
            timeout: seconds until they must send.

        Raises:
            UndecidedError: the policies admit no backend, or the server asks for a token, so no load can be sent.
            CandidateError: the server answers no query.
            InfraError: the pods do not get going.
            UnavailableError: there is no image for them, see `inside.image_of`.
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

        def wanted(name: str, command: tuple[str, ...], plan: Plan) -> inside.Wanted:
            return inside.Wanted(
                name=name,
                namespace=deployed.namespace,
                labels=peer.pod_labels,
                command=command,
                environment={"LOAD": plan.environment(host, deployed.candidate.service_port)},
                # Its share of the CPU is what keeps it on time; Chroma asks for 250m. More of it and a node of
                # 2 cores has no room left for three replicas.
                cpu="150m",
            )

        master = None
        senders = [wanted(name, COMMAND, plan)]
        if pods > 1:
            (master,) = inside.start(deployed.cluster, [wanted(f"{name}-master", master_command(pods), plan)])
            command = worker_command(master.ip)
            senders = [
                wanted(f"{name}-{number}", command, share) for number, share in enumerate(plan.shares(pods), start=1)
            ]
        loader = cls((), master)
        try:
            loader = cls(inside.start(deployed.cluster, senders), master)
            for pod in loader.pods:
                _wait_until_sending(pod, timeout)
        except BaseException:
            inside.remove(loader._all)
            raise
        return loader

    def __enter__(self) -> Self:
        """The loader itself; it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the pods."""
        inside.remove(self._all)

    def now(self) -> float:
        """The time by the clock of the first pod's node, s since the epoch: what `measured.Load.span` is asked with."""
        return float(self.pods[0].run("python3", "-c", "import time; print(time.time())").stdout)

    def stop(self, keep: Path | None = None, *, timeout: float = 180) -> measured.Load:
        """End the timetable now, let what is under way be answered, and read the whole report; as `finish`."""
        for pod in self.pods:
            pod.run("python3", "-c", "import os, signal; os.kill(1, signal.SIGUSR1)", check=False)
        return self.finish(keep, timeout=timeout)

    def finish(self, keep: Path | None = None, *, timeout: float) -> measured.Load:
        """Wait for the end of the timetable and read the whole report, of several pods added up.

        Args:
            keep: file that the pod's log is written to, for the run directory; of several, with a number in its name.
            timeout: seconds until the pods must have ended.

        Raises:
            InfraError: a pod does not end, or its report is cut short.
        """
        loads = []
        for number, pod in enumerate(self.pods, start=1):
            _wait(pod, "the loader to end", lambda found: found.status.phase in {"Succeeded", "Failed"}, timeout)
            text = pod.cluster.run_kubectl("logs", "-n", pod.namespace, pod.name, "-c", pod.container).stdout
            if keep is not None:
                path = keep if len(self.pods) == 1 else keep.with_stem(f"{keep.stem}-{number}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            load = measured.parse(text)
            if not load.ended:
                raise InfraError(f"the report of {pod.name} is cut short", evidence="\n".join(load.said[-10:]))
            loads.append(load)
        return measured.merged(loads)


def _wait_until_sending(pod: inside.Pod, timeout: float) -> None:
    """Follow the log up to the line that says that the timetable began."""
    said = b""
    with pod.cluster.api_client() as api:
        log = kubernetes.client.CoreV1Api(api).read_namespaced_pod_log(
            pod.name, pod.namespace, container=pod.container, follow=True,
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


def _wait(pod: inside.Pod, what: str, condition: Any, timeout: float) -> None:  # noqa: ANN401
    def met(pods: Mapping[str, Any]) -> bool:
        return pod.name in pods and bool(condition(pods[pod.name]))

    try:
        with pod.cluster.api_client() as api:
            wait_for(
                what,
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                met,
                timeout=timeout,
                describe=inside.describe,
                namespace=pod.namespace,
                field_selector=f"metadata.name={pod.name}",
            )
    except WaitTimeoutError as error:
        raise InfraError(error.message) from error
