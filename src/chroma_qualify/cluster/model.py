"""What the rest of the code may know of a cluster."""

from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import yaml

from chroma_qualify.errors import InfraError

RUN_LABEL = "chroma-qualify/run"  # its value is the run's id
LOADER_IMAGE = "chroma-qualify/loader:dev"  # of helper pods; the nodes of our own clusters have it
_SHOWN = 160  # characters of a command in an error
_HARMLESS = frozenset({"apply", "delete", "describe", "events", "get", "logs", "scale", "uncordon", "version"})
_MAKES = frozenset({"apply", "create"})
_UNANSWERED = (
    "TLS handshake timeout",
    "client connection lost",
    "connection refused",
    "connection reset by peer",
    "i/o timeout",
    "unexpected EOF",
    "etcdserver: request timed out",
    "etcdserver: leader changed",
)
_UNSENT = ("TLS handshake timeout",)  # before anything was asked: harmless whatever it was
_TRIES, _PAUSE = 4, 2.0  # s


class Role(enum.StrEnum):
    """What kind calls a node."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A node: the Kubernetes node name is also the name of its container."""

    name: str
    role: Role


@dataclasses.dataclass(frozen=True, slots=True)
class Guest:
    """On what terms we are in a cluster that is not ours.

    Attributes:
        run: id of the run: the value of RUN_LABEL on what we make.
        namespace: the one that was lent to us; "": we make our own.
        role: the ClusterRole that we bind to ourselves in each namespace that we make; "": our rights reach there.
        kinds: what may be deleted in a lent namespace, as kubectl names it.
    """

    run: str
    namespace: str = ""
    role: str = ""
    kinds: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster whose add-ons are ready.

    Attributes:
        name: kind's cluster name, or the context's of a cluster that is not ours.
        kubeconfig: a kubeconfig file that only this cluster uses.
        kubectl: the kubectl binary to use with it.
        nodes: its nodes, control plane first; empty for a cluster that is not ours.
        guest: on what terms we are there; None: it is ours.
        loader: image of helper pods; "": it has none.
    """

    name: str
    kubeconfig: Path
    kubectl: Path
    nodes: tuple[Node, ...] = ()
    guest: Guest | None = None
    loader: str = LOADER_IMAGE

    def api_client(self) -> kubernetes.client.ApiClient:
        """A new API client; the caller closes it."""
        return kubernetes.config.new_client_from_config(config_file=str(self.kubeconfig))

    def run_kubectl(
        self, *args: str, stdin: str | None = None, timeout: float = 180, check: bool = True, again: bool | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster and return the finished process.

        With `again`, what can be asked again without harm is, where an API server under load has not answered; and
        everything where it was never asked. None: with `check`.

        Raises:
            InfraError: with kubectl's own words, if `check` and it exits non-zero or takes longer than `timeout` s.
        """
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *args]
        if stdin is not None and args[:1] and args[0] in _MAKES and self.guest and self.guest.namespace:
            stdin = labelled(stdin, self.guest.run)
        excuses = _UNANSWERED if args[:1] and args[0] in _HARMLESS else _UNSENT
        tries = _TRIES if (check if again is None else again) else 1
        while True:
            tries -= 1
            try:
                done = run(command, stdin=stdin, timeout=timeout, check=check)
            except InfraError as error:
                if not tries or not _says(error.message, excuses):
                    raise
            else:
                if not tries or done.returncode == 0 or not _says(done.stderr, excuses):
                    return done
            time.sleep(_PAUSE)

    def get_json(self, *args: str) -> dict[str, Any]:
        """`kubectl get ARGS -o json`, parsed."""
        answer: dict[str, Any] = json.loads(self.run_kubectl("get", *args, "-o", "json").stdout)
        return answer

    def on_node(
        self, node: Node, *command: str, timeout: float = 180, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside a node's container; raises InfraError as `run_kubectl` does."""
        return run(["docker", "exec", node.name, *command], timeout=timeout, check=check)


def labelled(manifests: str, run_id: str) -> str:
    """The same manifests, each object with the run's label, and so the claims that a StatefulSet makes.

    In a namespace that somebody lent us this is what tells ours from theirs. What these objects make in turn is deleted
    with them.
    """
    objects = [item for item in yaml.safe_load_all(manifests) if item]
    for item in objects:
        for each in item.get("items") or () if item.get("kind") == "List" else (item,):
            for owner in (each, *((each.get("spec") or {}).get("volumeClaimTemplates") or ())):
                meta = owner.setdefault("metadata", {})
                meta["labels"] = {**(meta.get("labels") or {}), RUN_LABEL: run_id}
    return yaml.safe_dump_all(objects, sort_keys=True)


def _says(text: str, any_of: Sequence[str]) -> bool:
    return any(words in text for words in any_of)


def run(
    command: Sequence[str], *, stdin: str | None = None, timeout: float = 180, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, capturing what it prints.

    Raises:
        InfraError: the program is missing, takes longer than `timeout` seconds, or (with `check`) exits non-zero.
    """
    shown = textwrap.shorten(" ".join(command[:6]), _SHOWN, placeholder=" …")
    try:
        done = subprocess.run(list(command), input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise InfraError(f"{command[0]} is not installed", remedy="run `make setup`") from error
    except subprocess.TimeoutExpired as error:
        raise InfraError(f"`{shown}` did not end within {timeout:.0f} s") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise InfraError(f"`{shown}` failed: {said[-600:] or f'exit code {done.returncode}'}")
    return done
