"""Backups of a real Chroma, restored into another one: all that was in it is in the other, bit by bit."""

from __future__ import annotations

import pytest
from chroma_tools import _own, _target, backup, restore, verify
from chroma_tools._chroma import Chroma, ChromaError, SettingsError
from chroma_tools._format import BackupError, check, metadata_text, read_records
from record_values import counted, everything

TENANTS = ["default_tenant", "tenant é/2"]
COLLECTIONS = {
    "plain": {"configuration": {"hnsw": {"space": "l2"}}},
    "tuned": {
        "metadata": {"int": 1, "float": 1.0, "bool": True, "text": "é"},
        "configuration": {
            "hnsw": {
                "space": "ip", "ef_construction": 150, "ef_search": 120, "max_neighbors": 24, "resize_factor": 1.5,
                "sync_threshold": 5000, "batch_size": 70, "num_threads": 1,
            },
            "embedding_function": {"type": "known", "name": "default", "config": {"any": ["thing", 1]}},
        },
    },
    "cosine": {"configuration": {"hnsw": {"space": "cosine"}}},
    "empty": {"metadata": {"nothing": "in it"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(source):
    """Two tenants, three databases (one of them empty), collections with every setting and every kind of value."""
    with Chroma(f"http://127.0.0.1:{source.port}") as chroma:
        chroma.create_tenant(TENANTS[1])
        chroma.create_database(TENANTS[1], "other")
        chroma.create_database(TENANTS[1], "without-any")
        for tenant, database in (("default_tenant", "default_database"), (TENANTS[1], "other")):
            for name, settings in COLLECTIONS.items():
                made = chroma.create_collection(name, tenant=tenant, database=database, **settings)
                if name != "empty":
                    chroma.upsert(made, everything(403, seed=len(name)))
        return source


def contents(chroma):
    """Everything, in a form that keeps 1, 1.0 and true apart."""
    found = {}
    for tenant in TENANTS:
        for database in chroma.databases(tenant):
            found[tenant, database] = {}
            for one in chroma.collections(tenant, database):
                ids = chroma.ids(one, limit=5000)
                records = chroma.get(one, ids)
                rows = [
                    (id_, vector.tobytes(), metadata_text(metadata), document, uri)
                    for id_, vector, metadata, document, uri in zip(
                        records.ids, records.vectors, records.metadatas, records.documents, records.uris, strict=True
                    )
                ]
                settings = one.configuration, metadata_text(one.metadata), one.dimension
                found[tenant, database][one.name] = settings, ids, rows if one.space != "cosine" else len(rows)
    return found


def test_everything_is_back(filled, empty, at, target, capsys):
    before = contents(at(filled.port))
    backup.run(target, 3, TENANTS)
    (name,) = _target.names(target)
    assert sorted(path.name for path in target.iterdir()) == [".lock", name]
    verify.run(target, "all")
    manifest = check(target / name)
    assert manifest.databases == {TENANTS[0]: ["default_database"], TENANTS[1]: ["other", "without-any"]}
    assert manifest.records == 6 * 403

    restored = at(empty.port)
    restore.run(target, "latest")
    assert contents(restored) == before
    assert _own.unfinished_restore(restored) is None
    assert "restored and read back" in capsys.readouterr().out

    # What the copy gives is what the original gave: a backup of it holds the same.
    backup.run(target, 3, TENANTS)
    again = check(target / _target.names(target)[-1])
    for one, other in zip(manifest.collections, again.collections, strict=True):
        assert (one.collection.label, one.records) == (other.collection.label, other.records)
        if one.file and one.collection.space != "cosine":
            pages = [list(read_records(target / each / one.file)) for each in _target.names(target)]
            first, second = ([id_ for page in each for id_ in page.ids] for each in pages)
            assert first == second

    # It is not empty any more.
    with pytest.raises(BackupError, match=r"not empty: it has 8 collections, .* nothing was written"):
        restore.run(target, "latest")


def test_a_restore_that_was_interrupted_goes_on(filled, empty, at, target, monkeypatch):
    before = contents(at(filled.port))
    backup.run(target, 3, TENANTS)
    first = _target.names(target)[0]
    chroma = at(empty.port)
    sent = []

    def upsert(self, collection, records):
        if len(sent) == 6:
            raise ChromaError(0, "gone")
        sent.append(len(records))
        real(self, collection, records)

    real = Chroma.upsert
    monkeypatch.setattr(Chroma, "upsert", upsert)
    with pytest.raises(ChromaError, match="gone"):
        restore.run(target, "latest")
    with pytest.raises(BackupError, match=rf"a restore of {first} into this Chroma is not finished"):
        backup.run(target, 3, TENANTS)
    monkeypatch.setattr(Chroma, "upsert", real)

    at(filled.port)
    backup.run(target, 3, TENANTS)
    at(empty.port)
    with pytest.raises(BackupError, match=rf"half of another backup, {first}"):
        restore.run(target, "latest")
    restore.run(target, first)
    assert contents(chroma) == before
    backup.run(target, 3, TENANTS)


def test_what_is_written_over_meanwhile_is_found_by_reading_back(filled, empty, at, target, monkeypatch):
    at(filled.port)
    backup.run(target, 3, ["default_tenant"])
    chroma = at(empty.port)
    real = restore._read_back

    def changed_first(chroma, path, saved, made):
        if made.name == "plain":
            records = chroma.get(made, chroma.ids(made, limit=1))
            records.vectors[0, 0] += 1
            chroma.upsert(made, records)
        real(chroma, path, saved, made)

    monkeypatch.setattr(restore, "_read_back", changed_first)
    with pytest.raises(BackupError, match=r"plain was not restored as it was: record .* has another vector"):
        restore.run(target, "latest")
    assert _own.unfinished_restore(chroma) is not None
    monkeypatch.setattr(restore, "_read_back", real)
    restore.run(target, "latest")


def test_records_larger_than_a_request(empty, at, target, tmp_path):
    """Documents of 1 MB: pages stay small, and what is too large for one request is cut in two."""
    chroma = at(empty.port)
    made = chroma.create_collection("large")
    for begin in range(0, 90, 30):
        large = counted(range(begin, begin + 30))
        chroma.upsert(
            made, type(large)(large.ids, large.vectors, large.metadatas, ["\u0001" * 1_000_000] * 30, large.uris)[:5]
        )
    backup.run(target, 3, ["default_tenant"])
    chroma.delete_collection(made)
    restore.run(target, "latest")
    (made,) = chroma.collections()
    assert chroma.count(made) == 15


def test_settings_that_cannot_be_right(monkeypatch, tmp_path):
    for kept in ("0", "-1", "seven", "1.5", "٣"):
        monkeypatch.setenv("BACKUPS_KEPT", kept)
        with pytest.raises(SettingsError, match="must be a number, 1 or more"):
            _target.kept()
    monkeypatch.setenv("BACKUP_TENANTS", " , ")
    with pytest.raises(SettingsError, match="names no tenant"):
        backup.tenants()
    for url in ("chromadb-service:8000", "ftp://x"):
        with pytest.raises(SettingsError, match="must begin with http"):
            Chroma(url)
    with pytest.raises(SettingsError, match="no certificates"):
        Chroma("https://x", ca=tmp_path / "none")
    (tmp_path / "token").write_text("\n")
    with pytest.raises(SettingsError, match="token is empty"):
        Chroma("http://127.0.0.1:1", token=tmp_path / "token").heartbeat()


def test_no_server_no_tenant_no_backup(filled, at, target, capsys, monkeypatch):
    at(filled.port)
    with pytest.raises(BackupError, match="knows no tenant 'nobody'"):
        backup.run(target, 1, ["nobody"])
    at(1)
    monkeypatch.setenv("BACKUPS_DIR", str(target))
    monkeypatch.setattr(backup, "_PATIENCE", 0)
    assert backup.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "http://127.0.0.1:1 does not answer" in said
    assert [path.name for path in target.iterdir()] == [".lock"]
