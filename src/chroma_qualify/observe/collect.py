"""What is left to see of a namespace when a scenario has failed, as text files, before it is deleted.

Called by `recorder.Observer.collect`. Never raises and takes at most 15 s: what could not be collected is said in
`collect-errors.txt` beside the rest. Of Secrets only the names are written, and passwords elsewhere are left out.
"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.errors import QualifyError
from chroma_qualify.lint.secrets import hidden, redacted

_TIMEOUT = 12.0  # s for each command; they run side by side
_WIDTH = 3  # commands at a time
_COMMANDS: dict[str, Sequence[str]] = {
    "pods.txt": ("get", "pods", "-o", "wide"),
    "describe-pods.txt": ("describe", "pods"),
    "describe-volumes.txt": ("describe", "pvc"),
    "describe-scaling.txt": ("describe", "hpa"),
    "events.txt": ("events",),
    "secrets.txt": ("get", "secrets", "-o", "name"),
}
_LEFT_OUT = {"secrets", "events", "events.events.k8s.io"}  # secret; in events.txt


def collect(cluster: Cluster, namespace: str, directory: Path) -> None:
    """Write a namespace's objects, descriptions and events into a directory."""
    errors: list[str] = []

    def dump(name: str, command: Sequence[str], told: Callable[[str], str] = hidden) -> None:
        done = cluster.run_kubectl(*command, f"--namespace={namespace}", timeout=_TIMEOUT, check=False)
        if done.returncode != 0:
            errors.append(f"{name}: {done.stderr.strip()}")
        (directory / name).write_text(told(done.stdout))

    def dump_objects() -> None:
        # All kinds there are, so that a CustomResource is not forgotten.
        kinds = cluster.run_kubectl(
            "api-resources", "--namespaced", "--verbs=list", "-o", "name", timeout=_TIMEOUT, check=False
        ).stdout.split()
        wanted = [kind for kind in kinds if kind not in _LEFT_OUT and not kind.endswith(".metrics.k8s.io")]
        dump("objects.yaml", ("get", ",".join(wanted), "-o", "json", "--ignore-not-found"), _objects)

    try:
        directory.mkdir(parents=True, exist_ok=True)
        with concurrent.futures.ThreadPoolExecutor(_WIDTH) as pool:
            jobs = {pool.submit(dump_objects): "objects.yaml"}
            jobs |= {pool.submit(dump, name, command): name for name, command in _COMMANDS.items()}
            for job, name in jobs.items():
                try:
                    job.result()
                except (QualifyError, OSError, ValueError) as error:
                    errors.append(f"{name}: {error}")
        if errors:
            (directory / "collect-errors.txt").write_text("\n".join(errors) + "\n")
    except OSError:
        return  # the disk is full, or the run directory is gone: the failure that is being reported matters more


def _objects(text: str) -> str:
    """What kubectl says as JSON, as YAML. Raises ValueError where it was cut off: half of it cannot be searched."""
    if not text.strip():
        return ""
    # The one in C, where libyaml has it: ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(redacted(json.loads(text)), Dumper=dumper, allow_unicode=True))
