"""The power goes: what had not been fsynced is gone, and the server starts again on what is left.

The data volume is ext4 on a loop device. At the moment of the fault the server is stopped (so that it asks for no more
fsync) and the device's backing file is copied: the copy holds what the file system had sent to the device, and nothing
of what was still in memory. Then the server is killed, and a new one starts on the copy, whose journal the kernel
replays as after a crash. Two files prove it, both written while the server works: one is fsynced and must be there, of
the other, which is not, no content may be there.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.deployment.apply import Deployed, scale, wait_gone
from chroma_qualify.deployment.volume import loop_volume
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import (
    PROOF_TIMEOUT,
    Injected,
    Proof,
    ServerState,
    ready_again,
    server_states,
    the_server,
)
from chroma_qualify.faults.processes import find_server

_SYNCED, _UNSYNCED = ".chroma-qualify-synced", ".chroma-qualify-unsynced"
# In this order: a later fsync of Chroma's may commit the name of the second file, but nobody asks for its content.
_WITNESSES = f"""
rm -f "$1/{_SYNCED}" "$1/{_UNSYNCED}"
echo written > "$1/{_SYNCED}" && sync "$1/{_SYNCED}"
echo written > "$1/{_UNSYNCED}"
"""
_COPY = 'cp --sparse=always "$2" "$2.crashed"'
_SWAP = 'mv "$2.crashed" "$2"'
_LOOK = f"""
echo "synced: $(cat "$1/{_SYNCED}" 2>/dev/null)"
echo "unsynced: $(cat "$1/{_UNSYNCED}" 2>/dev/null)"
"""
_NO_VOLUME = "the data is on no volume of ours, so its power cannot be cut"


@dataclasses.dataclass(frozen=True, slots=True)
class PowerLoss:
    """A power loss of the data volume, under the server's hands."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on a volume of ours: see `deployment.volume`."""
        return None if loop_volume(deployed) else _NO_VOLUME

    def inject(self, deployed: Deployed) -> Injected:
        """Stop, copy, kill, and put the copy in the volume's place; the server is on its way again on return."""
        before = the_server(deployed)
        volume = loop_volume(deployed)
        if volume is None:
            raise UndecidedError(_NO_VOLUME)
        server = find_server(deployed, before)
        replicas = int(deployed.candidate.deployment["spec"].get("replicas", 1))
        volume.shell(_WITNESSES)
        server.signal("STOP")
        try:
            # Until every thread stands still: an fsync that is under way goes on in the kernel.
            poll_for("the server to stand still", server.states, lambda states: states == {"T"}, PROOF_TIMEOUT)
            volume.shell(_COPY)
            scale(deployed, 0)
            # Else the kubelet could start a container again on the old volume.
            poll_for("the pod to be on its way out", lambda: server_states(deployed), _none, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"the power could not be cut: {error.message}") from error
        finally:
            server.signal("KILL", check=False)
        wait_gone(deployed, before.pod, uid=before.uid)
        volume.unmount()
        volume.shell(_SWAP)
        volume.mount()
        seen = " / ".join(volume.shell(_LOOK).split("\n")).strip(" /")
        scale(deployed, replicas)
        return Injected(self.name, before, f"power loss of volume {volume.name} under pod {before.pod}", seen)

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:  # noqa: ARG002
        """What was fsynced is there, what was not is not."""
        if "synced: written" not in injected.mark.split(" / ")[0]:
            raise UndecidedError(f"a file that was fsynced is not in the copy of the volume: {injected.mark}")
        if "unsynced: written" in injected.mark:
            raise UndecidedError(f"a file that was not fsynced is in the copy of the volume: {injected.mark}")
        return Proof("only what was fsynced was left", injected.mark)

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: the power is back."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """A new server is ready on what was left."""
        return ready_again(deployed, injected)


def _none(states: tuple[ServerState, ...]) -> bool:
    return not states
