"""Who owns a cluster, and until when: what lets a later run sweep what a killed one left.

A lease is a small file beside the cluster's kubeconfig, in the user's cache directory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

from chroma_qualify.cluster.images.store import cache_dir

HOURS = 3600
KEPT_LEASE = 24 * HOURS  # a run's own cluster needs none: it goes when its owner does


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """A cluster's owner.

    Attributes:
        name: of the cluster.
        pid: the owner's process id.
        started: the owner's start time in clock ticks since boot, so that a reused pid is not taken for it.
        boot: the kernel's boot id.
        expires: Unix time in seconds, for a kept one.
        kept: whether it outlives its owner (`KEEP=1`, `make up`).
    """

    name: str
    pid: int
    started: int
    boot: str
    expires: float
    kept: bool

    def owner_lives(self) -> bool:
        """Does the process that made the cluster still run?"""
        return process_lives(self.pid, self.started, self.boot)

    def is_over(self) -> bool:
        """May anybody sweep the cluster?"""
        if self.owner_lives():
            return False
        return not self.kept or time.time() > self.expires


def cluster_dir(name: str) -> Path:
    """Where a cluster's lease and kubeconfig are."""
    return cache_dir() / "clusters" / name


def take_lease(name: str, *, kept: bool) -> Lease:
    """Write a lease for this process; before the cluster is created, so that a killed creation is swept too."""
    pid = os.getpid()
    expires = time.time() + (KEPT_LEASE if kept else 0)
    lease = Lease(name, pid, start_time(pid), boot_id(), expires, kept)
    place = cluster_dir(name)
    place.mkdir(parents=True, exist_ok=True)
    temporary = place / ".lease.json"
    temporary.write_text(json.dumps(dataclasses.asdict(lease)))
    temporary.replace(place / "lease.json")
    return lease


def read_leases() -> list[Lease]:
    """Every lease there is; an unreadable one counts as over."""
    found = []
    for path in sorted((cache_dir() / "clusters").glob("*/lease.json")):
        try:
            found.append(Lease(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            found.append(Lease(path.parent.name, 0, -1, "", 0.0, kept=False))
    return found


def drop_lease(name: str) -> None:
    """Forget a cluster that is gone."""
    shutil.rmtree(cluster_dir(name), ignore_errors=True)


def process_lives(pid: int, started: int, boot: str) -> bool:
    """Is it still the process that it was: of this boot, with this start time (0: there was none)?"""
    return boot == boot_id() and start_time(pid) == started


def boot_id() -> str:
    """The kernel's id of this boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: pids alone must do
        return ""


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)); 0 where there is no such process, or no /proc.

    A zombie counts as none: a killed owner stays one for as long as nobody reaps it, in a container perhaps for ever.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return 0 if fields[0] in {"Z", "X"} else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0
