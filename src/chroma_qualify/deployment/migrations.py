"""Chroma migrates its database at its start, one way: what a change of the image means, and what a guard said of it.

The guard is the init container of manifests/components/upgrade-guard; it knows the image's migrations from the image
itself, this only from its tag. Pure. Called by `diagnose`, by the fault `promotion` and by the scenarios.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator
from datetime import datetime

from chroma_qualify.deployment.causes import Cause, State, pod_name, unready
from chroma_qualify.deployment.objects import Candidate, KubeObject

REFUSED = "rollback-refused"
UNDECIDED = "guard-undecided"
# How the guard's sentences begin, see images/tools/chroma_tools/guard.py.
_SENTENCES = {"rollback refused: ": REFUSED, "guard undecided: ": UNDECIDED}
_REMEDIES = {
    REFUSED: "start the newer image again, or restore a backup from before the migration (docs/how-to/upgrade.md)",
    UNDECIDED: "read the log of the init container; it says what it could not read",
}
_GUARD = "guard"  # the argument that makes the tools image one
_VERSION = re.compile(r"(\d+)\.(\d+)\.\d+")
# From this version on, so many migrations; each was counted in a database that the version's server made.
_MIGRATIONS = (((1, 0), 16), ((1, 3), 17), ((1, 5), 18))
_LAST_KNOWN = (1, 5)
_LISTS = 18  # adds tables for lists as metadata values, and nothing that an older server with 17 needs


class Way(enum.StrEnum):
    """What going from one image to another means for the database."""

    SAME = "same"  # nothing is migrated, so both ways are open
    BACK_WITHOUT_LISTS = "back-without-lists"  # migrated; the way back is open until a list is stored as metadata
    ONE_WAY = "one-way"  # migrated; the way back is a restored backup
    BACK = "back"  # the second is older: over migrations
    UNKNOWN = "unknown"  # a tag says nothing


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """From one image to another.

    Attributes:
        older: the image that is in use.
        newer: the one to come.
        way: what that means.
    """

    older: str
    newer: str
    way: Way

    @property
    def notice(self) -> str:
        """What is to be said before it is done, in one sentence."""
        from_, to = migrations_of(self.older), migrations_of(self.newer)
        change = f"{self.older} -> {self.newer}"
        match self.way:
            case Way.SAME:
                return f"{change} migrates nothing: both know {to} migrations"
            case Way.BACK_WITHOUT_LISTS:
                return (
                    f"{change} migrates the database from {from_} to {to} migrations; going back works until a list is "
                    "stored as a metadata value, after that it needs a restored backup"
                )
            case Way.ONE_WAY:
                return (
                    f"{change} migrates the database from {from_} to {to} migrations, one way: going back needs a "
                    "backup that was taken before"
                )
            case Way.BACK:
                return f"{change} goes back from {from_} to {to} migrations: the data must allow it, and a guard tells"
        return f"{change}: the tags do not say which migrations that means; take a backup before"


def step(older: str, newer: str) -> Step:
    """What going from one image to another means, as far as their tags tell."""
    from_, to = migrations_of(older), migrations_of(newer)
    if from_ is None or to is None:
        return Step(older, newer, Way.SAME if older == newer else Way.UNKNOWN)
    if from_ == to:
        return Step(older, newer, Way.SAME)
    if from_ > to:
        return Step(older, newer, Way.BACK)
    return Step(older, newer, Way.BACK_WITHOUT_LISTS if (from_, to) == (_LISTS - 1, _LISTS) else Way.ONE_WAY)


def migrations_of(image: str) -> int | None:
    """How many migrations this image's Chroma knows, by its tag; None where that does not say it."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _VERSION.fullmatch(tag.removeprefix("v"))
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if not _MIGRATIONS[0][0] <= version <= _LAST_KNOWN:
        return None
    return [count for since, count in _MIGRATIONS if since <= version][-1]


def is_guarded(candidate: Candidate) -> bool:
    """Has its pod the guard of manifests/components/upgrade-guard, or one that is called like it?"""
    spec = candidate.deployment["spec"]["template"]["spec"]
    return any(_GUARD in (container.get("args") or ()) for container in spec.get("initContainers") or ())


def guard_refusals(state: State) -> Iterator[Cause]:
    """Pods whose guard let the server not start, with the guard's own sentence."""
    for pod in unready(state):
        for container in pod.get("status", {}).get("initContainerStatuses") or ():
            # Once it is waiting to be tried again, its last end is in the other field.
            now = "lastState" if (container.get("state") or {}).get("waiting") else "state"
            ended = (container.get(now) or {}).get("terminated") or {}
            if not ended.get("exitCode") or datetime.fromisoformat(ended["finishedAt"]) < state.since:
                continue
            said = ended.get("message", "")
            for beginning, rule in _SENTENCES.items():
                if said.startswith(beginning):
                    seen = f"init container {container['name']} ended with {ended['exitCode']}"
                    yield Cause(rule, said, seen, _REMEDIES[rule], pod_name(pod))


def guard_sentence(pod: KubeObject) -> str:
    """What the guard of a pod, as the API server shows it, said when it let the server start, or ""."""
    for container in pod.get("status", {}).get("initContainerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if container["name"] == _GUARD and ended.get("message"):
            return str(ended["message"])
    return ""
