"""What is broken on purpose: one file per family, each with proof that it took effect, and that it is over."""

from __future__ import annotations

from chroma_qualify.faults.api_server import ApiServerDown
from chroma_qualify.faults.base import Fault
from chroma_qualify.faults.cpu_starvation import CpuStarvation
from chroma_qualify.faults.dns import DnsDown
from chroma_qualify.faults.image_upgrade import ImageUpgrade
from chroma_qualify.faults.network import Latency, PacketDrop
from chroma_qualify.faults.node_away import NodeDrain, NodeLoss
from chroma_qualify.faults.node_pause import NodePause
from chroma_qualify.faults.node_restart import NodeRestart
from chroma_qualify.faults.out_of_memory import OutOfMemory
from chroma_qualify.faults.pod_delete import PodDelete
from chroma_qualify.faults.power_loss import PowerLoss
from chroma_qualify.faults.process_kill import ProcessKill
from chroma_qualify.faults.process_stop import ProcessStop
from chroma_qualify.faults.rollout import RolloutRestart
from chroma_qualify.faults.scale import ScaleOutAndIn
from chroma_qualify.faults.volume_full import VolumeFull

FAULTS: tuple[Fault, ...] = (
    PodDelete("pod-delete"),
    PodDelete("pod-kill", grace=0),
    RolloutRestart("rollout-restart"),
    ProcessKill("process-kill"),
    ProcessStop("process-stop"),
    OutOfMemory("out-of-memory"),
    CpuStarvation("cpu-starvation"),
    ScaleOutAndIn("scale-out"),
    PacketDrop("network-partition"),
    PacketDrop("network-loss", percent=20),
    Latency("network-latency"),
    DnsDown("dns-down"),
    ApiServerDown("api-server-down"),
    NodePause("node-pause"),
    NodeRestart("node-restart"),
    NodeDrain("node-drain"),
    NodeLoss("node-loss"),
    ImageUpgrade("image-upgrade"),
    PowerLoss("power-loss"),
    VolumeFull("volume-full"),
)


def by_name(name: str) -> Fault:
    """The fault of that name.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise KeyError(f"no fault {name!r}; there are {', '.join(fault.name for fault in FAULTS)}")
