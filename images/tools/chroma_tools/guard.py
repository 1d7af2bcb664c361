"""May the Chroma that is about to start open the database that it will find?

Chroma migrates its database when it starts, and there is no way back: an older server panics on a newer database, or
opens it and answers wrongly without an error. So this runs before the server, as an init container: it compares the
migrations in the volume's database with those of a fresh one, which the init container before it made by the very
image that is about to start. A version said beside the image could be another one's; this cannot.

It opens the volume's database for reading only, says what will happen in one sentence (log and termination message),
and ends with 1 where the server must not start. Nothing but Python's standard library is needed.

CHROMA_DATA   directory of the volume's database (/data)
GUARD_FRESH   directory of the fresh database (/guard/fresh)
GUARD_LOG     what the image said while it made that (/guard/log)
"""

import dataclasses
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

DATABASE = "chroma.sqlite3"
TERMINATION_LOG = Path("/dev/termination-log")
LOCK_SECONDS = 30
REFUSED = "rollback refused"  # chroma_qualify.deployment.diagnose knows these two
UNDECIDED = "guard undecided"
# How many migrations which Chroma knows, for the sentences only.
RELEASES = {16: "Chroma 1.0 to 1.2", 17: "Chroma 1.3 and 1.4", 18: "Chroma 1.5"}
# What Chroma 1.5 added: tables for lists as metadata values. Older servers with all the others never look at them.
LISTS = ("metadb", 6)
_LOGGED_LIST = """
    SELECT 1 FROM embeddings_queue, json_each(embeddings_queue.metadata) AS value
    WHERE embeddings_queue.metadata LIKE '%[%' AND value.type = 'array' LIMIT 1
"""
RESTORE = "restore a backup that was taken before the migration"


@dataclasses.dataclass(frozen=True)
class Decision:
    """Whether the server may start, and the sentence about it."""

    allowed: bool
    sentence: str


class UnreadableError(Exception):
    """A database cannot be read."""


class Database:
    """A Chroma database, opened for reading only: no lock file, no journal and no byte of it is written."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / DATABASE
        self.exists = self._path.exists() and self._path.stat().st_size > 0
        self._immutable = False

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query.

        After a crash SQLite would first have to roll back what was being written, which a reader must not: then the
        file is read as it lies there. An unfinished transaction of writes does not touch what is asked for here.
        """
        try:
            return self._ask(query)
        except sqlite3.Error as error:
            wal = Path(f"{self._path}-wal")
            if self._immutable or (wal.exists() and wal.stat().st_size > 0):
                raise UnreadableError(f"{self._path} cannot be read ({error})") from error
        self._immutable = True
        return self.rows(query)

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        mode = "mode=ro&immutable=1" if self._immutable else "mode=ro"
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?{mode}", uri=True, timeout=LOCK_SECONDS)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def migrations(self) -> set[tuple[str, int]]:
        """Directory and number of each; none in a database that was never migrated."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"):
            return set()
        return {(str(name), int(number)) for name, number in self.rows("SELECT dir, version FROM migrations")}

    def holds_lists(self) -> bool:
        """Is a list stored as a metadata value, or still in the log, from which a server reads at its start?"""
        tables = {name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "embedding_metadata_array" in tables and self.rows("SELECT 1 FROM embedding_metadata_array LIMIT 1"):
            return True
        return "embeddings_queue" in tables and bool(self.rows(_LOGGED_LIST))


def decide(data: Database, fresh: Database) -> Decision:
    """Compare the volume's database with one that the image made."""
    if not data.exists:
        return Decision(True, "there is no database yet: this start makes one")
    have = data.migrations()
    known = fresh.migrations() if fresh.exists else set()
    if not known:
        return Decision(
            False,
            f"{UNDECIDED}: the image that is about to start made no database of its own, so nobody can tell whether it "
            "may open this one; nothing was touched",
        )
    if missing := have - known:
        return _rollback(data, have, known, missing)
    if have == known:
        return Decision(True, f"nothing to migrate: the database has {_told(have)}, as this image has")
    if known - have == {LISTS}:
        back = f"going back works until a list is stored as a metadata value; after that, {RESTORE}"
        return Decision(
            True, f"migration: this start migrates the database from {_told(have)} to {_told(known)}; {back}"
        )
    return Decision(
        True,
        f"one-way migration: this start migrates the database from {_told(have)} to {_told(known)}; "
        f"there is no way back: to go back, {RESTORE}",
    )


def _rollback(
    data: Database, have: set[tuple[str, int]], known: set[tuple[str, int]], missing: set[tuple[str, int]]
) -> Decision:
    over = f"the database has {_told(have)}, the image that is about to start knows {_told(known)}"
    advice = f"nothing was touched; start the newer image again, or {RESTORE}"
    if missing != {LISTS} or known - have:
        return Decision(False, f"{REFUSED}: {over}, and would end or answer wrongly; {advice}")
    if data.holds_lists():
        return Decision(
            False, f"{REFUSED}: {over}, and cannot read the lists that are stored as metadata values; {advice}"
        )
    return Decision(True, f"rollback allowed: {over}, and no list is stored as a metadata value, so it can read all")


def _told(migrations: set[tuple[str, int]]) -> str:
    release = RELEASES.get(len(migrations))
    return f"{len(migrations)} migrations{f' ({release})' if release else ''}"


def main() -> int:
    """Say it, and return 0 if the server may start, else 1."""
    data = Path(os.environ.get("CHROMA_DATA", "/data"))
    fresh = Path(os.environ.get("GUARD_FRESH", "/guard/fresh"))
    try:
        decision = decide(Database(data), Database(fresh))
    except (UnreadableError, OSError, ValueError) as error:
        decision = Decision(False, f"{UNDECIDED}: {error}; nothing was touched")
    print(f"guard: {decision.sentence}", flush=True)
    if decision.sentence.startswith(UNDECIDED):
        _print_log(Path(os.environ.get("GUARD_LOG", "/guard/log")))
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(decision.sentence)
    return 0 if decision.allowed else 1


def _print_log(path: Path) -> None:
    """What the image said, where that may explain why nothing can be told."""
    try:
        print(path.read_text(errors="replace")[-2000:], file=sys.stderr)
    except OSError as error:
        print(f"guard: the image left no log: {error}", file=sys.stderr)
