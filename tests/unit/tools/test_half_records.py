"""No record of a backup is half old, half new, whatever the server answers in between."""

from __future__ import annotations

import itertools
import json
import threading

import pytest
from chroma_tools import _export, _target, backup
from chroma_tools._chroma import Chroma, Records
from chroma_tools._format import BackupError, check, read_records
from passing_proxy import PassingProxy
from record_values import counted, halves


class TornReads(PassingProxy):
    """Each n-th `get` with vectors has a vector of one record that is not its own; which record it is, goes round.

    Attributes:
        torn: how often it did so.
    """

    def __init__(self, port, *, one_of=1, always_the_same=False):
        super().__init__(port)
        self.torn = 0
        self._one_of, self._same = one_of, always_the_same
        self._reads = itertools.count()

    def handle(self, handler, body):
        status, data = self.forward(handler, body)
        if handler.path.endswith("/get") and b'"embeddings"' in body and status == 200:
            number = next(self._reads)
            if number % self._one_of == 0:
                data = self._tear(json.loads(data), 0 if self._same else number)
        handler.reply(status, data)

    def _tear(self, answer, number):
        if not answer["ids"]:
            return json.dumps(answer).encode()
        row = number % len(answer["ids"])
        self.torn += 1
        answer["embeddings"][row] = [value - self.torn for value in answer["embeddings"][row]]
        return json.dumps(answer).encode()


@pytest.fixture(scope="module")
def whole(source):
    """A collection of records that tell whether they are whole."""
    with Chroma(f"http://127.0.0.1:{source.port}") as chroma:
        made = chroma.create_collection("whole")
        chroma.upsert(made, counted(range(300)))
    return source


def saved(target):
    """All records of the newest backup's collection `whole`."""
    newest = target / _target.names(target)[-1]
    (file,) = [one.file for one in check(newest).collections if one.collection.name == "whole"]
    return list(read_records(newest / file))


@pytest.mark.parametrize("one_of", [3, 5])
def test_a_torn_read_is_not_taken(whole, at, target, one_of):
    proxy = TornReads(whole.port, one_of=one_of)
    try:
        chroma = at(proxy.port)
        (made,) = [one for one in chroma.collections() if one.name == "whole"]
        # The control: one read alone has a record that is half.
        alone = [halves(chroma.get(made, [f"n-{number}" for number in range(300)])) for _ in range(one_of)]
        assert any(alone)
        backup.run(target, 3, ["default_tenant"])
    finally:
        proxy.close()
    assert proxy.torn > 1
    pages = saved(target)
    assert sum(map(len, pages)) == 300
    assert [halves(page) for page in pages] == [[]] * len(pages)


def test_a_record_that_never_rests_is_an_error(whole, at, target, monkeypatch):
    monkeypatch.setattr(_export, "_ROUNDS", 5)
    proxy = TornReads(whole.port, always_the_same=True)
    try:
        at(proxy.port)
        with pytest.raises(
            BackupError, match=r"whole: 1 records, 'n-0' among them, are written to faster than they can"
        ):
            backup.run(target, 3, ["default_tenant"])
    finally:
        proxy.close()
    assert [path.name for path in target.iterdir()] == [".lock"]


class HalfThere(PassingProxy):
    """Says of reads that have `n-7` among them that its vector cannot be found: the first `times` times, or always."""

    def __init__(self, port, times):
        super().__init__(port)
        self._left = times

    def handle(self, handler, body):
        if handler.path.endswith("/get") and b'"n-7"' in body and self._left > 0:
            self._left -= 1
            said = {"error": "InternalError", "message": "Error executing plan: Internal error: Error finding id"}
            handler.reply(500, json.dumps(said).encode())
        else:
            handler.reply(*self.forward(handler, body))


def test_a_record_that_is_written_just_now_is_read_again(whole, at, target):
    proxy = HalfThere(whole.port, 25)
    try:
        at(proxy.port)
        backup.run(target, 3, ["default_tenant"])
    finally:
        proxy.close()
    assert sorted(id_ for page in saved(target) for id_ in page.ids) == sorted(f"n-{number}" for number in range(300))


def test_a_record_that_the_index_has_lost_is_named(whole, at, target):
    proxy = HalfThere(whole.port, 1_000_000)
    try:
        at(proxy.port)
        with pytest.raises(BackupError, match=r"whole: record 'n-7' has no vector any more"):
            backup.run(target, 3, ["default_tenant"])
    finally:
        proxy.close()
    assert [path.name for path in target.iterdir()] == [".lock"]


def test_writes_go_on_during_backups(empty, at, target):
    """Changes of records that are there, new ones and deletions, as fast as one client can, during three backups."""
    chroma = at(empty.port)
    made = chroma.create_collection("whole")
    chroma.upsert(made, counted(range(2000)))
    still = [f"n-{number}" for number in range(0, 2000, 2)]
    stop = threading.Event()
    changes = []

    def work():
        with Chroma(chroma.url) as own:
            for turn in itertools.count(1):
                if stop.is_set():
                    return
                number = (turn * 7) % 1000 * 2 + 1
                changed = counted(range(turn * 10_000, turn * 10_000 + 1))
                own.upsert(made, Records([f"n-{number}"], *_columns(changed)))
                own.upsert(made, counted(range(turn * 10_000 + 1, turn * 10_000 + 3), prefix="new"))
                if turn % 3 == 0:
                    own.delete(made, [f"n-{(turn * 11) % 1000 * 2 + 1}"])
                changes.append(turn)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for _ in range(3):
            before = len(changes)
            backup.run(target, 3, ["default_tenant"])
            assert len(changes) > before, "nothing was written meanwhile"
    finally:
        stop.set()
        thread.join(timeout=60)
    pages = saved(target)
    assert [halves(page) for page in pages] == [[]] * len(pages)
    ids = [id_ for page in pages for id_ in page.ids]
    assert len(ids) == len(set(ids))
    assert set(still) <= set(ids)


def _columns(records):
    return records.vectors, records.metadatas, records.documents, records.uris


def test_no_record_is_missed_when_others_are_deleted_between_pages(empty, at, monkeypatch):
    """Ids are listed in pages; between any two of them, records before, in and behind the next page are deleted."""
    monkeypatch.setattr(_export, "_IDS", 50)
    chroma = at(empty.port)
    made = chroma.create_collection("shifting")
    chroma.upsert(made, counted(range(1000)))
    gone = set()
    fresh, turns = itertools.count(5000), itertools.count()

    def ids(self, collection, *, limit, offset=0):
        answer = real(self, collection, limit=limit, offset=offset)
        turn = next(turns)
        doomed = {f"n-{(turn * 37 + step * 61) % 1000}" for step in range(30)} - gone
        gone.update(doomed)
        if doomed:
            self.delete(made, doomed)
        new = next(fresh)
        self.upsert(made, counted(range(new, new + 1)))
        return answer

    real = Chroma.ids
    monkeypatch.setattr(Chroma, "ids", ids)
    found = _export.all_ids(chroma, made)
    assert len(gone) > 300
    stayed = [f"n-{number}" for number in range(1000) if f"n-{number}" not in gone]
    assert set(stayed) <= set(found)
    assert [id_ for id_ in found if id_ in set(stayed)] == stayed, "not in the order of their first write"
    assert len(found) == len(set(found))


def test_a_collection_that_is_deleted_meanwhile_is_left_out(empty, at, target, monkeypatch):
    chroma = at(empty.port)
    for name in ("deleted", "whole"):
        chroma.upsert(chroma.create_collection(name), counted(range(200)))
    real = Chroma.get

    def get(self, collection, ids):
        for one in chroma.collections():
            if one.name == "deleted":
                chroma.delete_collection(one)
        return real(self, collection, ids)

    monkeypatch.setattr(Chroma, "get", get)
    backup.run(target, 3, ["default_tenant"])
    (newest,) = _target.names(target)
    assert [one.collection.name for one in check(target / newest).collections] == ["whole"]
    assert sum(map(len, saved(target))) == 200
