"""What the nodes of a cluster say, saved before they are deleted: why a creation failed can only be read there.

Called by `kind` when a cluster does not come up, with a place in the run directory.
"""

from __future__ import annotations

import concurrent.futures
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from chroma_qualify.cluster.lease import cluster_dir

_LIST_TIMEOUT = 3.0  # s
_TIMEOUT = 8.0  # s, of every command; they run side by side
_LINES = "3000"  # the last ones of every log


def collect_nodes(name: str, directory: Path) -> None:
    """Write the nodes' logs, their kubelets' and, if the API server answers, the pods and events of a cluster.

    It never raises, as it runs while an error is on its way, and takes 15 s at most.

    Args:
        name: of the cluster.
        directory: gets NODE.log, NODE.kubelet.log, NODE.containers.log, nodes.txt, pods.txt, events.txt; made
            if need be. What a command could not tell is in its file too.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        commands = _commands(name, _nodes(name))
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda item: _save(item[1], directory / item[0]), commands.items()))
    except Exception as error:  # noqa: BLE001 (see above)
        _note(directory, error)


def _nodes(name: str) -> list[str]:
    command = ["docker", "ps", "--all", "--filter", f"label=io.x-k8s.kind.cluster={name}", "--format", "{{.Names}}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIST_TIMEOUT, check=True)
    return sorted(done.stdout.split())


def _commands(name: str, nodes: Sequence[str]) -> Mapping[str, list[str]]:
    """File name to the command whose output it holds."""
    journal = ["journalctl", "--no-pager", f"--lines={_LINES}", "--unit=kubelet", "--unit=containerd"]
    place = cluster_dir(name)
    ask = [str(place / "kubectl"), f"--kubeconfig={place / 'kubeconfig'}", "--request-timeout=4s", "get"]
    commands = {}
    for node in nodes:
        commands[f"{node}.log"] = ["docker", "logs", f"--tail={_LINES}", node]
        commands[f"{node}.kubelet.log"] = ["docker", "exec", node, *journal]
        commands[f"{node}.containers.log"] = ["docker", "exec", node, "crictl", "ps", "--all"]
    if (place / "kubeconfig").exists():
        commands["nodes.txt"] = [*ask, "nodes", "--output=wide"]
        commands["pods.txt"] = [*ask, "pods", "--all-namespaces", "--output=wide"]
        commands["events.txt"] = [*ask, "events", "--all-namespaces", "--sort-by=.lastTimestamp"]
    return commands


def _save(command: Sequence[str], path: Path) -> None:
    """Run a command into a file; what stops it is written there as well."""
    with path.open("w") as file:
        try:
            # Not captured: what it said before it was stopped is worth keeping.
            subprocess.run(
                list(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=_TIMEOUT, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            file.write(f"\n{error}\n")


def _note(directory: Path, error: Exception) -> None:
    try:
        (directory / "not-collected.txt").write_text(f"{type(error).__name__}: {error}\n")
    except OSError:  # a full disk, say: there is no place left to tell it
        return
