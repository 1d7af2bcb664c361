"""`chroma-qualify doctor` as a user runs it, and deployments to be made ill, for the scenarios about it."""

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import tenacity

from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.errors import InfraError, UndecidedError

DOCTOR = Path(sys.executable).parent / "chroma-qualify"
TIMEOUT = 240.0  # s for a look, which takes seconds: only a machine that stands still needs more


@dataclasses.dataclass(frozen=True)
class Look:
    """How the doctor ended: exit code, and its JSON (empty where it could not look)."""

    code: int
    told: dict
    errors: str

    @property
    def rules(self):
        return {item["rule"] for item in self.told["found"]}

    def of(self, rule):
        return next(item for item in self.told["found"] if item["rule"] == rule)


def doctor(namespace, kubeconfig):
    """Look at a namespace as a user does, once more where the API server was too busy to answer."""
    words = [DOCTOR, "doctor", "--namespace", namespace, "--kubeconfig", kubeconfig, "--format", "json"]
    for _ in range(3):
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        if "the cluster does not answer" not in done.stderr:
            break
    else:
        raise InfraError(done.stderr.strip())
    return Look(done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr)


def until(what, holds, timeout):
    """Poll; a cluster of others tells of none of this by itself."""
    waiting = tenacity.Retrying(
        stop=tenacity.stop_after_delay(timeout),
        wait=tenacity.wait_fixed(1.0),
        retry=tenacity.retry_if_result(lambda value: not value),
    )
    try:
        waiting(holds)
    except tenacity.RetryError as error:
        raise UndecidedError(f"waited {timeout:.0f} s until {what}") from error


def changed(candidate, change=lambda *_: None):
    """The candidate with something done to its objects, by `Kind`."""
    objects = copy.deepcopy(list(candidate.objects))
    kinds = {item["kind"]: item for item in objects}
    chroma_container(kinds)["resources"]["requests"]["cpu"] = "10m"  # several at a time must fit on a small node
    change(kinds, objects)
    return Candidate.from_objects(objects, candidate.directory, kubectl=candidate.kubectl)


def template(kinds):
    return kinds["Deployment"]["spec"]["template"]["spec"]


def chroma_container(kinds):
    return template(kinds)["containers"][0]
