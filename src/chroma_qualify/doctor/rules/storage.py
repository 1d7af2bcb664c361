"""Volumes that are full, are nearly full, or were.

Once SQLite has found no space, Chroma 1.x keeps a transaction open: what it acknowledges from then on is lost with the
process, or hangs. So a server that was full must be restarted before anything else is written: see
docs/reference/faults.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chroma_qualify.doctor.diagnosis import Diagnosis, Issue
from chroma_qualify.doctor.look import Patient, Server
from chroma_qualify.doctor.rules.starting import COLOUR, FULL
from chroma_qualify.doctor.snapshot import VolumeUse
from chroma_qualify.lint.objects import at, name_of, reference

_NEAR = 0.85
_NOTHING = 2**20  # bytes: less than a flush of the index takes
_GROW = (
    "stop writing; enlarge the claim (`kubectl edit pvc`, where its StorageClass has allowVolumeExpansion) or move to "
    "a larger one with a backup: deleted collections give no space back"
)
_RESTART = "restart the server before anything else is written"


def storage(patient: Patient) -> Iterator[Diagnosis]:
    """Issue `storage full`."""
    for server in patient.servers:
        full = False
        for claim in server.claims:
            use = patient.volume(claim)
            if use is None:
                continue
            if use.available < _NOTHING or (use.inodes and not use.inodes_free):
                full = True
                logged = next((line for pod in server.staying if (line := _last(server.log(pod, previous=False)))), "")
                message, remedy = f"the volume of claim {claim} is full", f"{_GROW}; then {_RESTART}"
                yield _of_volume("volume-full", message, use, remedy, logged)
            elif (share := _share(use)) >= _NEAR:
                yield _of_volume(
                    "volume-near-full",
                    f"the volume of claim {claim} is {share:.0%} full",
                    use,
                    f"before it is: {_GROW}",
                )
        if not full:
            yield from _logged(server, [use for claim in server.claims if (use := patient.volume(claim))])


def _share(use: VolumeUse) -> float:
    """The share that is taken, of bytes or of inodes, whichever is more."""
    of_bytes = 1 - use.available / use.capacity
    return max(of_bytes, 1 - use.inodes_free / use.inodes if use.inodes else 0.0)


def _of_volume(rule: str, message: str, use: VolumeUse, remedy: str, logged: str = "") -> Diagnosis:
    evidence = f"{use.available} of {use.capacity} bytes are free, {use.inodes_free} of {use.inodes} inodes\n{logged}"
    return Diagnosis(Issue.STORAGE, rule, message, evidence.strip(), remedy, f"PersistentVolumeClaim/{use.claim}")


def _logged(server: Server, uses: Sequence[VolumeUse]) -> Iterator[Diagnosis]:
    """What a log says of a volume of which the kubelet does not, or not yet, or which has room again.

    The log of the process before counts only while the present one is not ready: a restart is the remedy.
    """
    restart = f"{_RESTART}: kubectl rollout restart {server.workload.kind.lower()}/{server.workload.name}"
    for pod in server.staying:
        now, before = server.log(pod, previous=False), server.log(pod, previous=True)
        found = _last(now) or ("" if pod in server.ready else _last(before))
        if not found:
            continue
        claims = ", ".join(server.claims) or "its volume"
        look = f"kubectl exec {name_of(pod)} -c {server.container.get('name')} -- df -h {_path(server)}"
        if any(use.time > found.partition(" ")[0] for use in uses):  # both are RFC 3339, in UTC
            message = f"the volume of {claims} was full, and pod {name_of(pod)} has not been restarted since"
            rule, remedy = "volume-was-full", restart
        else:
            message = f"pod {name_of(pod)} found the volume of {claims} full"
            rule, remedy = (
                "volume-full",
                f"see how full it is ({look}); while it is full: {_GROW}; when there is room: {restart}",
            )
        yield Diagnosis(Issue.STORAGE, rule, message, found, remedy, reference(pod))


def _last(log: str) -> str:
    """The last line of a log that says so."""
    lines = (line for line in reversed(log.splitlines()) if FULL.search(line))
    return COLOUR.sub("", next(lines, "")).strip()[:300]


def _path(server: Server) -> str:
    for mount in server.container.get("volumeMounts") or ():
        if "persistentVolumeClaim" in server.workload.volume(str(mount.get("name"))):
            return str(mount.get("mountPath"))
    return str(at(server.container, "workingDir") or "/data")
