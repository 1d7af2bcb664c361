"""Take nearly all CPU from the container, as a crowded node does: its quota is cut to a twentieth of a core."""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import PROOF_TIMEOUT, Injected, Proof, ready_now, the_server
from chroma_qualify.faults.processes import CGROUP, NO_NODES, node_of, shell

_QUOTA = 5_000  # microseconds of each 100,000
# Prints the quota as it was, "-1" or "max …" for none; with a second argument it is set.
_SET = (
    CGROUP
    + """
place=$(cgroup cpu "$1") || exit 1
if [ -f "$place/cpu.max" ]; then file=cpu.max; else file=cpu.cfs_quota_us; fi
cat "$place/$file"
[ -z "$2" ] || echo "$2" > "$place/$file"
"""
)
_THROTTLED = (
    CGROUP
    + """
place=$(cgroup cpu "$1") || exit 1
while read -r key value; do [ "$key" != nr_throttled ] || echo "$value"; done < "$place/cpu.stat"
"""
)


@dataclasses.dataclass(frozen=True, slots=True)
class CpuStarvation:
    """A cut of the container's CPU quota."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes."""
        return None if deployed.cluster.nodes else NO_NODES

    def inject(self, deployed: Deployed) -> Injected:
        """Cut the quota, and remember what it was, and how often it had been reached."""
        before = the_server(deployed)
        node = node_of(deployed, before)
        throttled = shell(deployed, node, _THROTTLED, before.container_id).strip()
        was = shell(deployed, node, _SET, before.container_id, str(_QUOTA)).strip()
        asked = f"CPU quota of pod {before.pod} from {was} to {_QUOTA} of 100000 us"
        return Injected(self.name, before, asked, f"{throttled or 0}/{was.split()[0]}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The quota is what was asked for, and the kernel has held the container back since."""
        node = node_of(deployed, injected.before)
        earlier = int(injected.mark.partition("/")[0])

        def throttled() -> int:
            return int(shell(deployed, node, _THROTTLED, injected.before.container_id).strip() or 0)

        try:
            now = poll_for("the kernel to throttle the server", throttled, lambda n: n >= earlier + 5, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"no proof of the fault: {error.message}") from error
        quota = shell(deployed, node, _SET, injected.before.container_id, "").split()[0]
        if quota != str(_QUOTA):
            raise UndecidedError(f"the quota is {quota}: somebody put it back")
        return Proof("the kernel holds the server back", f"throttled {now - earlier} times since, quota {quota} us")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Put the quota back; a container that is gone took its own with it."""
        node = node_of(deployed, injected.before)
        shell(deployed, node, _SET, injected.before.container_id, injected.mark.partition("/")[2], check=False)

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The quota is the old one, and the server is ready."""
        state = ready_now(deployed, injected)
        quota = shell(deployed, node_of(deployed, state), _SET, state.container_id, "").split()[0]
        if quota == str(_QUOTA):
            raise UndecidedError(f"the quota is still {quota} us")
        return Proof(f"the quota is {quota} us again", str(state))
