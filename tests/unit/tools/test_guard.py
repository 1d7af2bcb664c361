"""The guard on real databases: made by the server that is installed, and put back to what older ones make.

What was recorded with the servers themselves: 1.0 to 1.2 lack sysdb 10 and metadb 6, 1.3 and 1.4 lack metadb 6.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from chroma_tools import guard

SINCE_1_3, SINCE_1_5 = ("sysdb", 10), ("metadb", 6)
OLDER = {"1.0": (SINCE_1_3, SINCE_1_5), "1.4": (SINCE_1_5,), "1.5": ()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Chroma version to a directory with its fresh database; made as the init container makes one."""
    root = tmp_path_factory.mktemp("fresh")
    newest = root / "1.5"
    newest.mkdir()
    (root / "config.yaml").write_text(f"persist_path: {newest}\nlisten_address: 203.0.113.1\nport: 8000\n")
    chroma = Path(sys.executable).with_name("chroma")
    done = subprocess.run([chroma, "run", root / "config.yaml"], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0, "it listens on an address that no machine has"
    for version, missing in OLDER.items():
        if missing:
            shutil.copytree(newest, root / version)
            with sqlite3.connect(root / version / guard.DATABASE) as connection:
                connection.executemany("DELETE FROM migrations WHERE dir = ? AND version = ?", missing)
    return {version: root / version for version in OLDER}


@pytest.fixture
def data(made, tmp_path):
    """`data("1.5", "INSERT …")`: the volume, with a database of that version."""

    def make(version, *statements):
        shutil.copytree(made[version], tmp_path / "data")
        with sqlite3.connect(tmp_path / "data" / guard.DATABASE) as connection:
            for statement in statements:
                connection.execute(statement)
        return tmp_path / "data"

    return make


def decided(volume, fresh):
    return guard.decide(guard.Database(volume), guard.Database(fresh))


@pytest.mark.parametrize(
    ("have", "image", "allowed", "begins"),
    [
        ("1.0", "1.0", True, "nothing to migrate: the database has 16 migrations (Chroma 1.0 to 1.2)"),
        ("1.0", "1.4", True, "one-way migration: this start migrates the database from 16 migrations"),
        ("1.0", "1.5", True, "one-way migration: this start migrates the database from 16 migrations"),
        ("1.4", "1.5", True, "migration: this start migrates the database from 17 migrations"),
        ("1.5", "1.5", True, "nothing to migrate: the database has 18 migrations (Chroma 1.5)"),
        ("1.5", "1.4", True, "rollback allowed: the database has 18 migrations"),
        ("1.5", "1.0", False, "rollback refused: the database has 18 migrations"),
        ("1.4", "1.0", False, "rollback refused: the database has 17 migrations"),
    ],
)
def test_what_a_start_would_do(data, made, have, image, allowed, begins):
    decision = decided(data(have), made[image])
    assert decision.allowed is allowed
    assert decision.sentence.startswith(begins)
    assert "\n" not in decision.sentence


_RECORD = "INSERT INTO embeddings (id, segment_id, embedding_id, seq_id) VALUES (1, 's', 'r', 1)"
_LIST = "INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (1, 'tags', 'a')"
_LOGGED = "INSERT INTO embeddings_queue (operation, topic, id, metadata) VALUES (0, 't', 'r', '{}')"


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([_RECORD, _LIST], False),
        ([_LOGGED.format('{"tags": ["a"]}')], False),  # its record may be deleted: an older server reads the log
        ([_LOGGED.format('{"chroma:document": "[a] bracket, no list"}')], True),
        (
            [_LOGGED.format('{"k": 1}'), "INSERT INTO embeddings_queue (operation, topic, id) VALUES (3, 't', 'r')"],
            True,
        ),
    ],
)
def test_lists_as_metadata_values_forbid_the_way_back(data, made, statements, allowed):
    decision = decided(data("1.5", *statements), made["1.4"])
    assert decision.allowed is allowed
    assert ("cannot read the lists" in decision.sentence) is not allowed


def test_a_later_chroma_than_all_known_goes_its_way_up_only(data, made, tmp_path):
    later = tmp_path / "later"
    shutil.copytree(made["1.5"], later)
    with sqlite3.connect(later / guard.DATABASE) as connection:
        connection.execute("INSERT INTO migrations VALUES ('sysdb', 11, 'later.sql', '', '')")
    assert decided(data("1.5"), later).sentence.startswith("one-way migration: ")
    back = decided(later, made["1.5"])
    assert (back.allowed, back.sentence.split(":")[0]) == (False, guard.REFUSED)


def test_a_first_start_is_allowed_whatever_the_image(made, tmp_path):
    assert decided(tmp_path / "empty", made["1.0"]).allowed
    assert decided(tmp_path / "empty", tmp_path / "none").allowed


def test_without_a_fresh_database_or_with_a_broken_one_of_the_volume_nothing_starts(data, made, tmp_path):
    volume = data("1.5")
    assert decided(volume, tmp_path / "none").sentence.startswith(guard.UNDECIDED)
    (volume / guard.DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(guard.UnreadableError):
        decided(volume, made["1.5"])


def test_main_says_it_writes_nothing_and_ends_with_1(data, made, monkeypatch, capsys, tmp_path):
    volume = data("1.5")
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(guard, "TERMINATION_LOG", message)
    monkeypatch.setenv("CHROMA_DATA", str(volume))
    monkeypatch.setenv("GUARD_FRESH", str(made["1.0"]))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in volume.rglob("*")}
    assert guard.main() == 1
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in volume.rglob("*")}
    said = capsys.readouterr().out
    assert said == f"guard: {message.read_text()}\n"
    assert "nothing was touched" in said

    monkeypatch.setenv("GUARD_FRESH", str(made["1.5"]))
    assert guard.main() == 0

    monkeypatch.setenv("GUARD_FRESH", str(tmp_path / "none"))
    (tmp_path / "log").write_text("why the image made none")
    monkeypatch.setenv("GUARD_LOG", str(tmp_path / "log"))
    assert guard.main() == 1
    assert "why the image made none" in capsys.readouterr().err


def test_after_a_crash_it_reads_without_rolling_back(data, made):
    """A writer dies in the middle of a transaction: its journal lies beside the database, and must still lie there."""
    volume = data("1.5")
    crash = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "for n in range(3000):\n"
        "    connection.execute('INSERT INTO maintenance_log VALUES (?, 0, ?)', (n, 'x' * 500))\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", crash, volume / guard.DATABASE], check=False)
    journal = volume / f"{guard.DATABASE}-journal"
    assert journal.stat().st_size > 0
    volume.chmod(stat.S_IRUSR | stat.S_IXUSR)
    before = (journal.read_bytes(), (volume / guard.DATABASE).read_bytes())
    try:
        assert decided(volume, made["1.5"]).allowed
        assert not decided(volume, made["1.0"]).allowed
    finally:
        volume.chmod(stat.S_IRWXU)
    assert before == (journal.read_bytes(), (volume / guard.DATABASE).read_bytes())
