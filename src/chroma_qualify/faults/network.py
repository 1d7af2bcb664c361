"""Between client and Chroma: nothing gets through, packets are lost, or everything takes longer.

Done in the pod's own network namespace, from its node, on the loopback that a port-forward comes in by. The kubelet's
probes come by the pod's other interface and are let alone: Kubernetes sees a healthy pod, and the clients do not.
"""

from __future__ import annotations

import dataclasses
import re

from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import InfraError, UndecidedError
from chroma_qualify.faults.base import PROOF_TIMEOUT, Injected, Proof, ready_now, the_server
from chroma_qualify.faults.processes import NO_NODES, ServerProcess, counted_packets, find_server

_TABLE = "chroma_qualify"
_LOSS_PERCENT = 20  # of the packets, each way
_DELAY = "150ms"
_RATE = "6mbit"  # where the kernel has no netem: an answer of 100 KB takes 130 ms
_SLOWER = 2.0  # times what the same answer took before: proof that the link is slow
_LARGE = "/openapi.json"  # an answer of some 100 KB that touches no data

_RULES = """
nft -f - <<RULES
table inet {table} {{
  chain incoming {{
    type filter hook input priority -300;
    iifname "lo" tcp dport {port} {chance} counter drop
    iifname "lo" tcp sport {port} {chance} counter drop
  }}
}}
RULES
"""
_DROPPED = f"nft list table inet {_TABLE}"
_NO_RULES = f"nft delete table inet {_TABLE} 2>/dev/null || true"
_CONNECT = 'timeout 2 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" 2>/dev/null && echo open || echo closed'
# Milliseconds that one large answer takes, three times; the middle one counts.
_TIME = """
for _ in 1 2 3; do
  begin=$(date +%s%N)
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
  printf 'GET $2 HTTP/1.0\\r\\nHost: chroma\\r\\n\\r\\n' >&3
  bytes=$(timeout 20 cat <&3 | wc -c)
  exec 3>&-
  echo $(( ($(date +%s%N) - begin) / 1000 )) "$bytes"
done | sort -n | sed -n 2p
""".replace("$2", _LARGE)
_SLOW = f"""
tc qdisc add dev lo root netem delay {_DELAY} 2>/dev/null && {{ echo netem; exit; }}
tc qdisc add dev lo root tbf rate {_RATE} burst 96kb latency 5s && echo tbf
"""
_NOT_SLOW = "tc qdisc del dev lo root 2>/dev/null || true"


@dataclasses.dataclass(frozen=True, slots=True)
class PacketDrop:
    """A firewall in front of the server that drops packets.

    Attributes:
        percent: of the packets; 100 is a partition.
    """

    name: str
    percent: int = 100

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes."""
        return None if deployed.cluster.nodes else NO_NODES

    def inject(self, deployed: Deployed) -> Injected:
        """Add the rules."""
        before = the_server(deployed)
        server = find_server(deployed, before)
        chance = "" if self.percent == 100 else f"numgen random mod 100 < {self.percent}"
        port = deployed.candidate.container_port
        server.in_network(_RULES.format(table=_TABLE, port=port, chance=chance))
        what = "all packets" if self.percent == 100 else f"{self.percent} % of the packets"
        return Injected(self.name, before, f"drop {what} between clients and port {port} of pod {before.pod}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The kernel has dropped packets; in a partition nobody can connect."""
        server = find_server(deployed, injected.before)
        if self.percent == 100 and _connects(server, deployed):
            raise UndecidedError("every packet should be dropped, and a connection came about")
        try:
            dropped = poll_for("packets to be dropped", lambda: _dropped(server), lambda n: n > 0, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"no proof of the fault: {error.message}") from error
        return Proof("packets are dropped", f"{dropped} packets so far")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Take the rules out; a pod that is gone took its namespace with it."""
        _take_out(deployed, injected, _NO_RULES)

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """There are no rules any more, and a connection comes about."""
        state = ready_now(deployed, injected)
        server = find_server(deployed, state)
        left = server.in_network(_DROPPED, check=False)
        if left.strip():
            raise UndecidedError(f"the packet filter is still there: {left.strip()}")
        try:
            poll_for("a connection to come about", lambda: _connects(server, deployed), bool, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"the packet filter is gone: {error.message}") from error
        return Proof("no packet is dropped any more", str(state))


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """A slow link: a fixed delay where the kernel has netem, else a narrow one (token bucket)."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes."""
        return None if deployed.cluster.nodes else NO_NODES

    def inject(self, deployed: Deployed) -> Injected:
        """Measure, then make it slow."""
        before = the_server(deployed)
        server = find_server(deployed, before)
        usual, size = _milliseconds(server, deployed)
        how = server.in_network(_SLOW).strip()
        words = f"delay of {_DELAY} (netem)" if how == "netem" else f"rate of {_RATE} (tbf; this kernel has no netem)"
        return Injected(self.name, before, f"{words} between clients and pod {before.pod}", f"{usual}/{size}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The same answer takes longer."""
        usual = float(injected.mark.partition("/")[0])
        now, size = _milliseconds(find_server(deployed, injected.before), deployed)
        if now < _SLOWER * usual and not _held_back(find_server(deployed, injected.before)):
            raise UndecidedError(f"an answer of {size} bytes took {usual} ms before and {now} ms now: it is not slow")
        return Proof("the link is slow", f"an answer of {size} bytes took {usual} ms before, {now} ms now")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Take it out."""
        _take_out(deployed, injected, _NOT_SLOW)

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The queue is the usual one again."""
        state = ready_now(deployed, injected)
        queue = find_server(deployed, state).in_network("tc qdisc show dev lo").strip()
        if "netem" in queue or "tbf" in queue:
            raise UndecidedError(f"the link is still slow: {queue}")
        return Proof("the link is as it was", queue)


def _take_out(deployed: Deployed, injected: Injected, script: str) -> None:
    try:
        server = find_server(deployed, injected.before)
    except InfraError:  # the container is gone; its successor in the pod has the same network namespace
        server = find_server(deployed, the_server(deployed))
    server.in_network(script)


def _dropped(server: ServerProcess) -> int:
    return counted_packets(server.in_network(_DROPPED))


def _held_back(server: ServerProcess) -> bool:
    """Has the kernel held packets back? Where the server itself is slow its times do not tell."""
    said = server.in_network("tc -s qdisc show dev lo")
    over = re.search(r"overlimits (\d+)", said)
    return ("tbf" in said and over is not None and int(over[1]) > 0) or "netem" in said


def _connects(server: ServerProcess, deployed: Deployed) -> bool:
    return server.in_network(_CONNECT, str(deployed.candidate.container_port)).strip() == "open"


def _milliseconds(server: ServerProcess, deployed: Deployed) -> tuple[float, int]:
    """What one large answer of Chroma itself takes, and its size in bytes; a proxy in front would ask for a token."""
    words = server.in_network(_TIME, str(deployed.candidate.server_port), timeout=90).split()
    if len(words) != 2:
        raise UndecidedError(f"the server did not answer {_LARGE} on its own loopback")
    return int(words[0]) / 1000, int(words[1])
