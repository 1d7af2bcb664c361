"""What was seen of a namespace at one moment; plain data, made by `collect`, judged by `rules`."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from chroma_qualify.deployment.objects import KubeObject


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Something that could not be looked at.

    Attributes:
        what: in words, e.g. "how full the volumes are".
        why: what kept us from it.
        right: the right that is missing, as a role has it, e.g. "list pods"; "" where no right would help.
        harmless: nothing that is usually wrong can hide there, or nobody can look: no reason to call the answer open.
    """

    what: str
    why: str
    right: str = ""
    harmless: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Log:
    """The end of a container's log, a time (RFC 3339) before each line; `previous`: of the one before this."""

    pod: str
    container: str
    previous: bool
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeUse:
    """How full a claim's volume is, as the kubelet measured it (about every minute); bytes, and inodes.

    Attributes:
        time: when it was measured, RFC 3339, or "".
    """

    claim: str
    used: int
    available: int
    capacity: int
    inodes_free: int
    inodes: int
    time: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryUse:
    """The working set of a container in bytes."""

    pod: str
    container: str
    bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A namespace.

    Attributes:
        namespace: its name.
        taken: when (UTC).
        objects: of every kind that could be listed, as the API server has them; Events among them, Secrets never.
        logs: of Chroma's containers.
        volumes: of the claims that the kubelet measures.
        memory: of the containers of Chroma's pods.
        gaps: what could not be looked at.
    """

    namespace: str
    taken: datetime
    objects: tuple[KubeObject, ...] = ()
    logs: tuple[Log, ...] = ()
    volumes: tuple[VolumeUse, ...] = ()
    memory: tuple[MemoryUse, ...] = ()
    gaps: tuple[Gap, ...] = ()
