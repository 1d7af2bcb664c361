"""SIGKILL the server process inside its container, from the node.

The container's first process is an init (dumb-init), so the server itself is killed; init
then ends with 128 + 9 = 137, the container with it, and the kubelet starts it again in the
same pod. SIGKILL leaves the page cache: it proves less than a power loss.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import Node
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ServerState, ready_again, the_server, wait_for_server

INITS = frozenset({"dumb-init", "tini", "docker-init", "catatonit", "pause", "sh", "bash"})
SIGKILLED = 137  # 128 + SIGKILL

# Every process in the PID namespace of the container's first one, as "PID PARENT COMM". The
# namespace tells what belongs to the container whatever the cgroup version; `ctr` tells the first.
_LIST = """
first=$(ctr -n k8s.io tasks ls | while read -r id pid state; do [ "$id" = "$1" ] && echo "$pid"; done)
[ -n "$first" ] || { echo "containerd knows no task $1" >&2; exit 1; }
space=$(readlink "/proc/$first/ns/pid")
for dir in /proc/[0-9]*; do
  [ "$(readlink "$dir/ns/pid" 2>/dev/null)" = "$space" ] || continue
  pid=${dir#/proc/}; parent=
  while read -r key value; do [ "$key" = PPid: ] && parent=$value; done < "$dir/status"
  echo "$pid $parent $(cat "$dir/comm")"
done
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """A process as its node sees it."""

    pid: int
    parent: int
    command: str


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessKill:
    """SIGKILL of the server."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes: a remote cluster's node cannot be entered."""
        return None if deployed.cluster.nodes else "the nodes of an existing cluster cannot be entered"

    def inject(self, deployed: Deployed) -> Injected:
        """Find the server process from its node and kill it."""
        before = the_server(deployed)
        node = node_of(deployed, before)
        listed = deployed.cluster.on_node(node, "sh", "-c", _LIST, "sh", before.container_id)
        server = server_process(parse_processes(listed.stdout), before.container_id)
        deployed.cluster.on_node(node, "sh", "-c", 'kill -9 "$1"', "sh", str(server.pid))
        asked = f"SIGKILL to process {server.pid} ({server.command}) of pod {before.pod} on node {node.name}"
        return Injected(self.name, before, asked)

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """One restart more in the same pod, and the last life ended with 137 (and not for memory)."""
        before = injected.before
        after = wait_for_server(
            deployed,
            f"a restart of the container in pod {before.pod}",
            lambda state: state.uid == before.uid and state.restarts > before.restarts and state.exit_code is not None,
        )
        if after.restarts != before.restarts + 1 or after.exit_code != SIGKILLED or after.reason == "OOMKilled":
            raise UndecidedError(f"the server ended otherwise than by one SIGKILL: {after}")
        return Proof("the server process was killed and its container restarted", f"before: {before}; after: {after}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: the kubelet starts the container again."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The container is ready."""
        return ready_again(deployed, injected)


def node_of(deployed: Deployed, state: ServerState) -> Node:
    """The node that a pod runs on.

    Raises:
        UndecidedError: it is none of the cluster's own.
    """
    for node in deployed.cluster.nodes:
        if node.name == state.node:
            return node
    raise UndecidedError(f"pod {state.pod} runs on {state.node or 'no node'}, which is none of the cluster's own")


def parse_processes(text: str) -> tuple[Process, ...]:
    """Lines of `PID PARENT COMM`; a process that ended while it was looked at has no parent and is left out."""
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0].isdigit() and words[1].isdigit():
            found.append(Process(int(words[0]), int(words[1]), words[2]))
    return tuple(found)


def server_process(processes: tuple[Process, ...], container: str) -> Process:
    """The server: the topmost process that is no init.

    Raises:
        UndecidedError: there is none, or several stand side by side.
    """
    candidates = [process for process in processes if process.command not in INITS]
    pids = {process.pid for process in candidates}
    top = [process for process in candidates if process.parent not in pids]
    if len(top) != 1:
        seen = ", ".join(f"{process.pid} {process.command}" for process in processes) or "none"
        raise UndecidedError(f"cannot tell the server among the processes of container {container[:12]}: {seen}")
    return top[0]
