"""The server's process as its node sees it: found, signalled, and the files that the kernel keeps for it.

Only on nodes of our own, which are containers; nothing runs in the user's cluster for this. Used by every family that
strikes at the process, its cgroup or its network namespace.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import Node
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import ServerState

INITS = frozenset({"dumb-init", "tini", "docker-init", "catatonit", "pause", "sh", "bash"})
NO_NODES = "the nodes of an existing cluster cannot be entered"

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
class ServerProcess:
    """The server's process, and where it is."""

    deployed: Deployed
    node: Node
    process: Process

    @property
    def pid(self) -> int:
        """Its number on the node."""
        return self.process.pid

    def signal(self, name: str, *, check: bool = True) -> None:
        """Send it a signal, e.g. `KILL`."""
        self.shell('kill -s "$1" "$2"', name, str(self.pid), check=check)

    def states(self) -> set[str]:
        """The kernel's letter of each thread: `S` sleeping, `R` running, `T` stopped …; empty: it is gone (proc(5))."""
        said = self.shell('cat /proc/"$1"/task/*/stat 2>/dev/null || true', str(self.pid))
        return {line.rpartition(")")[2].split()[0] for line in said.splitlines() if ")" in line}

    def shell(self, script: str, *args: str, timeout: float = 60, check: bool = True) -> str:
        """Run a script of sh on its node; returns what it printed."""
        return shell(self.deployed, self.node, script, *args, timeout=timeout, check=check)

    def in_network(self, script: str, *args: str, timeout: float = 60, check: bool = True) -> str:
        """Run a script of bash on its node, in the pod's network namespace; returns what it printed."""
        words = ["nsenter", "--net", f"--target={self.pid}", "--", "bash", "-c", script, "bash", *args]
        return self.deployed.cluster.on_node(self.node, *words, timeout=timeout, check=check).stdout


def shell(deployed: Deployed, node: Node, script: str, *args: str, timeout: float = 60, check: bool = True) -> str:
    """Run a script of sh on a node; returns what it printed.

    Raises:
        InfraError: it failed (with `check`), or took longer than `timeout` s.
    """
    return deployed.cluster.on_node(node, "sh", "-c", script, "sh", *args, timeout=timeout, check=check).stdout


def find_server(deployed: Deployed, state: ServerState) -> ServerProcess:
    """The server's process in a pod.

    Raises:
        UndecidedError: it cannot be told, or the pod runs on no node of ours.
    """
    node = node_of(deployed, state)
    listed = shell(deployed, node, _LIST, state.container_id)
    return ServerProcess(deployed, node, server_process(parse_processes(listed), state.container_id))


def counted_packets(rules: str) -> int:
    """The packets that nftables has counted, over all rules of a listing."""
    words = rules.split()
    return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")


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


# The directory of a container's cgroup of one controller, whatever the version: its name holds the container's id.
CGROUP = """
cgroup() {
  for top in /sys/fs/cgroup/"$1" /sys/fs/cgroup/"$1",* /sys/fs/cgroup/*,"$1" /sys/fs/cgroup; do
    [ -d "$top" ] || continue
    found=$(find "$top" -type d -name "*$2*" 2>/dev/null | head -n 1)
    [ -n "$found" ] && { echo "$found"; return; }
  done
  echo "there is no $1 cgroup of container $2" >&2
  return 1
}
"""
