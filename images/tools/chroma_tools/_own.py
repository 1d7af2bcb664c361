"""What the tools keep in the server itself: in a tenant of their own, which clients do not list and no backup holds."""

from __future__ import annotations

import dataclasses

import numpy as np

from chroma_tools._chroma import Chroma, Collection, Records

TENANT = "chroma-tools"
DATABASE = "backup"
_RESTORING = "restoring"
_BARRIER = Records(["barrier"], np.ones((1, 1), np.float32), [None], [None], [None])


class Barrier:
    """`wait()` returns when all writes that the server had begun are applied: it is a write behind them.

    Its collection stays in the server, which never gives back all that a deleted one took.
    """

    def __init__(self, chroma: Chroma) -> None:
        self._chroma = chroma
        make_place(chroma, DATABASE)
        self._collection = chroma.create_collection("barrier", tenant=TENANT, database=DATABASE, get_or_create=True)

    def wait(self) -> None:
        self._chroma.upsert(self._collection, _BARRIER)


@dataclasses.dataclass(frozen=True)
class Restoring:
    """A restore that has begun and not ended, or ended too early."""

    backup: str
    digest: str
    collection: Collection


def unfinished_restore(chroma: Chroma) -> Restoring | None:
    """The mark that `begin_restore` set, if it is there still."""
    if not chroma.has_tenant(TENANT) or DATABASE not in chroma.databases(TENANT):
        return None
    for one in chroma.collections(TENANT, DATABASE):
        if one.name == _RESTORING and one.metadata:
            return Restoring(str(one.metadata["backup"]), str(one.metadata["digest"]), one)
    return None


def begin_restore(chroma: Chroma, backup: str, digest: str) -> Restoring:
    """Mark the server as half restored, before anything else is written to it."""
    make_place(chroma, DATABASE)
    metadata = {"backup": backup, "digest": digest}
    made = chroma.create_collection(_RESTORING, tenant=TENANT, database=DATABASE, metadata=metadata)
    return Restoring(backup, digest, made)


def end_restore(chroma: Chroma, restoring: Restoring) -> None:
    """It is whole."""
    chroma.delete_collection(restoring.collection)


def make_place(chroma: Chroma, database: str) -> None:
    """Unless it is there: the tenant, and a database in it."""
    if not chroma.has_tenant(TENANT):
        chroma.create_tenant(TENANT)
    if database not in chroma.databases(TENANT):
        chroma.create_database(TENANT, database)
