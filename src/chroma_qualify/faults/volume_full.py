"""The volume fills up, really: a file beside Chroma's data takes all that is left, until the kernel says ENOSPC.

What was acknowledged must stay and be readable, writes must fail cleanly, and with room made they must work again.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.volumes import LoopVolume
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.deployment.volume import loop_volume
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_now, the_server

_BALLAST = ".chroma-qualify-ballast"
# fallocate takes nearly all at once, dd what is left to the last block; both may end with ENOSPC, as they should.
_FILL = f"""
fallocate --length "$(($(df --output=avail --block-size=1 "$1" | tail -n 1) * 99 / 100))" "$1/{_BALLAST}" || true
dd if=/dev/zero of="$1/{_BALLAST}" bs=64k oflag=append conv=notrunc status=none 2>/dev/null || true
dd if=/dev/zero of="$1/{_BALLAST}" bs=4k oflag=append conv=notrunc status=none 2>/dev/null || true
"""
_AVAILABLE = 'df --output=avail --block-size=1 "$1" | tail -n 1'
NO_VOLUME = "the data is on no volume of ours, so it cannot be filled without filling the node"


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeFull:
    """No space left on the data volume, then room again."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on a volume of ours: see `deployment.volume`."""
        return None if loop_volume(deployed) else NO_VOLUME

    def inject(self, deployed: Deployed) -> Injected:
        """Fill it."""
        before = the_server(deployed)
        volume = _volume(deployed)
        free = volume.shell(_AVAILABLE).strip()
        volume.shell(_FILL)
        return Injected(self.name, before, f"fill the {free} bytes that are free on the volume {volume.name}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:  # noqa: ARG002
        """Nothing is free, or so little that no page of a database fits twice."""
        free = int(_volume(deployed).shell(_AVAILABLE))
        if free > 64 * 1024:
            raise UndecidedError(f"the volume was filled, and {free} bytes are free")
        return Proof("the volume is full", f"{free} bytes are free")

    def undo(self, deployed: Deployed, injected: Injected) -> None:  # noqa: ARG002
        """Make room."""
        _volume(deployed).shell(f'rm -f "$1/{_BALLAST}"')

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """There is room, and the server is ready; whether it writes again is for the history to say."""
        free = int(_volume(deployed).shell(_AVAILABLE))
        if free <= 1024 * 1024:
            raise UndecidedError(f"room was made, and {free} bytes are free")
        return Proof(f"{free} bytes are free again", str(ready_now(deployed, injected)))


def _volume(deployed: Deployed) -> LoopVolume:
    volume = loop_volume(deployed)
    if volume is None:
        raise UndecidedError(NO_VOLUME)
    return volume
