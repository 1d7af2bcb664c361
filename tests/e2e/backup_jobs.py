"""Jobs of the component `backup` in a namespace: made from the CronJob or from manifests/jobs, watched to their end.

Also the hand: a pod with the backups' volume, to look at it and to do what a bad disk does. Used by test_backup.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes.client
import yaml

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.cluster.wait import wait_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.load import inside

JOBS = Path(__file__).parents[2] / "manifests" / "jobs"
CRONJOB = "chromadb-backup"
_HAND = "hand"
# s; a job takes seconds, on a busy machine some of them ten times as long
PATIENCE = 300

KubeObject = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a job ended: the exit code of its container, and what Kubernetes shows of its last words."""

    name: str
    code: int
    message: str
    log: str


def scheduled(deployed: Deployed) -> KubeObject:
    """The job that the live CronJob makes."""
    found = deployed.cluster.get_json("cronjob", CRONJOB, f"--namespace={deployed.namespace}")
    spec = found["spec"]["jobTemplate"]["spec"]
    return _modest({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": spec})


def shipped(deployed: Deployed, name: str, *args: str) -> KubeObject:
    """A job of manifests/jobs, as it is but for its retries, or with other arguments."""
    done = deployed.cluster.run_kubectl("kustomize", str(JOBS / name))
    (job,) = (item for item in yaml.safe_load_all(done.stdout) if item)
    job["spec"]["backoffLimit"] = 0
    if args:
        container_of(job)["args"] = list(args)
    return _modest(job)


def _modest(job: KubeObject) -> KubeObject:
    """Asks for little, so that many jobs fit on the node beside all else; the limits stay."""
    container_of(job)["resources"]["requests"] = {"cpu": "10m", "memory": "64Mi"}
    return job


def container_of(job: KubeObject) -> KubeObject:
    """The one container of a job."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container  # type: ignore[no-any-return]


def with_volume(job: KubeObject, source: Mapping[str, Any]) -> KubeObject:
    """The same job with another volume for backups."""
    changed = copy.deepcopy(job)
    volumes = changed["spec"]["template"]["spec"]["volumes"]
    (at,) = [number for number, volume in enumerate(volumes) if volume["name"] == "backups"]
    volumes[at] = {"name": "backups", **source}
    return changed


def run_jobs(deployed: Deployed, jobs: Mapping[str, KubeObject]) -> dict[str, Ended]:
    """Start jobs side by side and wait until all have ended."""
    space = deployed.namespace
    named = [
        {**job, "metadata": {"name": name, "namespace": space, "labels": job["metadata"].get("labels", {})}}
        for name, job in jobs.items()
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": named})
    deployed.cluster.run_kubectl("create", "-f", "-", stdin=document)
    return {name: job_end(deployed, name) for name in jobs}


def by_hand(deployed: Deployed, name: str) -> Ended:
    """A backup as docs/how-to/backup.md says to start one."""
    deployed.cluster.run_kubectl(
        "create", "job", name, f"--from=cronjob/{CRONJOB}", f"--namespace={deployed.namespace}"
    )
    return job_end(deployed, name)


def job_end(deployed: Deployed, name: str) -> Ended:
    """Wait for a job's end; how it was.

    Raises:
        WaitTimeoutError: it did not end.
    """
    with contextlib.closing(deployed.cluster.api_client()) as api:
        wait_for(
            f"job {name} to end",
            kubernetes.client.BatchV1Api(api).list_namespaced_job,
            lambda jobs: any(_is_over(job) for job in jobs.values()),
            timeout=PATIENCE,
            describe=lambda jobs: ", ".join(str(job.status.conditions or "it runs") for job in jobs.values()),
            namespace=deployed.namespace,
            field_selector=f"metadata.name={name}",
        )
    space = f"--namespace={deployed.namespace}"
    pods = deployed.cluster.get_json("pods", space, "-l", f"job-name={name}")["items"]
    state = pods[-1]["status"]["containerStatuses"][0]["state"]["terminated"]
    log = deployed.cluster.run_kubectl("logs", pods[-1]["metadata"]["name"], space).stdout
    return Ended(name, state["exitCode"], state.get("message", "").strip(), log)


def _is_over(job: Any) -> bool:
    return any(one.type in {"Complete", "Failed"} and one.status == "True" for one in job.status.conditions or [])


@dataclasses.dataclass(frozen=True)
class Hand:
    """A pod with the volume of the backups, labelled as they are."""

    pod: inside.Pod

    def python(self, program: str, *args: str) -> str:
        """Run a program there; what it prints."""
        return self.pod.run("python3", "-c", program, *args, timeout=120).stdout.strip()

    def names(self) -> list[str]:
        """The backups in the volume, whole or not, oldest first."""
        return self.python("import os; print(*sorted(n for n in os.listdir('/backups') if n[:6] == 'backup'))").split()

    def digest(self, name: str) -> str:
        """Of all files of a backup."""
        return self.python(
            "import hashlib, pathlib, sys\n"
            "files = sorted(pathlib.Path('/backups', sys.argv[1]).iterdir())\n"
            "print([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])",
            name,
        )

    @contextlib.contextmanager
    def lock_held(self) -> Iterator[None]:
        """As long as the block lasts, a run that takes long: the tool's own lock, held by another process."""
        program = (
            "import pathlib, sys; from chroma_tools import _target\n"
            "with _target.locked(pathlib.Path('/backups')):\n"
            "    print('held', flush=True); sys.stdin.read()"
        )
        cluster: Cluster = self.pod.cluster
        place = ["exec", "-i", "-n", self.pod.namespace, self.pod.name, "--", "python3", "-c", program]
        with subprocess.Popen(
            [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}", *place],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline().strip() == "held"
            yield
            process.stdin.close()  # it reads the end of its input, and lets go
            process.wait(timeout=60)


def start_hand(deployed: Deployed) -> Hand:
    """Start it and wait until it is ready."""
    pod = copy.deepcopy(scheduled(deployed)["spec"]["template"])
    container = pod["spec"]["containers"][0]
    container |= {"command": ["python3", "-c", "import signal; signal.pause()"], "args": []}
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = {"name": _HAND, "namespace": deployed.namespace, "labels": pod["metadata"]["labels"]}
    inside.apply(deployed.cluster, [pod])
    with contextlib.closing(deployed.cluster.api_client()) as api:
        wait_for(
            "the pod with the backups' volume to be ready",
            kubernetes.client.CoreV1Api(api).list_namespaced_pod,
            lambda pods: any(inside.is_ready(pod) for pod in pods.values()),
            timeout=PATIENCE,
            describe=inside.describe,
            namespace=deployed.namespace,
            field_selector=f"metadata.name={_HAND}",
        )
    return Hand(inside.Pod(deployed.cluster, deployed.namespace, _HAND, container=container["name"]))


def suspend(deployed: Deployed, *, suspended: bool) -> None:
    """Let the CronJob make jobs, or not."""
    patch = json.dumps({"spec": {"suspend": suspended}})
    deployed.cluster.run_kubectl("patch", "cronjob", CRONJOB, f"--namespace={deployed.namespace}", "--patch", patch)


def wait_scheduled(deployed: Deployed) -> list[str]:
    """Wait for a job that the CronJob made by itself; the names of all there are, by time."""

    def own(jobs: Mapping[str, Any]) -> list[str]:
        mark = "batch.kubernetes.io/cronjob-scheduled-timestamp"
        return sorted(name for name, job in jobs.items() if mark in (job.metadata.annotations or {}))

    with contextlib.closing(deployed.cluster.api_client()) as api:
        found = wait_for(
            "the CronJob to make a job by its schedule",
            kubernetes.client.BatchV1Api(api).list_namespaced_job,
            lambda jobs: bool(own(jobs)),
            timeout=PATIENCE,
            namespace=deployed.namespace,
        )
    return own(found)
