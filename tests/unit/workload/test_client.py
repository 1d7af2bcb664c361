"""The client layer and the audit, against a real server."""

import dataclasses
import signal

import httpx
import numpy as np
import pytest

from chroma_qualify.errors import UsageError
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import VALUE_KEY, Values, make_records, vector, vectors

values = Values(0)


@pytest.fixture
def chroma(shared_server):
    return shared_server.client()


@pytest.fixture
def collection(chroma, request):
    return client.create_collection(chroma, request.node.name[:60])


def test_what_was_written_is_read(chroma, collection):
    records = make_records("r", values.take(60))
    acknowledged = client.write(chroma, collection, records, batch=25)
    assert len(acknowledged) == 60
    assert client.read_store(collection, page=20).values == acknowledged
    index = client.read_index(collection, list(acknowledged), page=25)
    assert index.lost == ()
    assert np.allclose(index.vectors, vectors([acknowledged[id_] for id_ in index.ids]), atol=1e-6)
    result = audit(collection, acknowledged)
    assert (result.expected, result.stored, result.indexed, result.found) == (60, 60, 60, 60)
    assert result.findings == ()


def test_pages_end_where_the_records_end(chroma, collection):
    client.write(chroma, collection, make_records("r", values.take(40)))
    for page in (1, 39, 40, 41):
        assert len(client.read_store(collection, page=page).ids) == 40


def test_unknown_ids_are_neither_found_nor_lost(chroma, collection):
    client.write(chroma, collection, make_records("r", values.take(3)))
    index = client.read_index(collection, ["r-1", "nobody"])
    assert (index.ids, index.lost) == (("r-1",), ())
    assert client.read_index(collection, []).vectors.shape == (0, 384)


def test_audit_names_what_is_wrong(chroma, collection):
    expected = client.write(chroma, collection, make_records("r", values.take(30)))
    other = values.take(1)[0]
    collection.update(ids=["r-1"], embeddings=[vector(other)])
    collection.update(ids=["r-2"], metadatas=[{VALUE_KEY: other}])
    collection.delete(ids=["r-3"])
    client.write(chroma, collection, make_records("stranger", [other + 1]))
    found = {
        (finding.rule, finding.evidence.split(" ")[0].rstrip(":")) for finding in audit(collection, expected).findings
    }
    assert found >= {("wrong-value", "r-1"), ("wrong-value", "r-2"), ("lost-store", "r-3"), ("phantom", "stranger-0")}
    assert not {rule for rule, _ in found} & {"lost-index", "duplicate"}


def test_a_batch_beyond_the_servers_limit_is_refused(chroma, collection):
    with pytest.raises(UsageError, match="more than the server takes"):
        client.write(chroma, collection, make_records("r", values.take(1)), batch=10**6)


def test_databases_are_apart(shared_server):
    for tenant, database in (("tenant1", "data1"), ("tenant1", "data2"), ("tenant2", "data1")):
        client.create_database("127.0.0.1", shared_server.port, tenant, database)
        client.create_database("127.0.0.1", shared_server.port, tenant, database)  # a second time is no error
        mine = shared_server.client(tenant=tenant, database=database)
        assert mine.list_collections() == []
        client.write(mine, client.create_collection(mine, "same-name"), make_records(f"{tenant}-{database}", [1]))
        assert client.read_store(mine.get_collection("same-name", embedding_function=None)).ids == (
            f"{tenant}-{database}-0",
        )


def test_a_silent_server_times_out(local_server):
    chroma = local_server.client(timeout=0.5)
    local_server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(httpx.TimeoutException):
        chroma.list_collections()
    local_server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_acknowledged_records_survive_around_the_persist_boundary(local_server, how):
    chroma = local_server.client()
    written = {}
    for size in (999, 1000, 1001):
        name = f"of-{size}"
        collection = client.create_collection(chroma, name)
        written[name] = client.write(chroma, collection, make_records(name, values.take(size)), batch=200)
    code = local_server.stop(how)
    assert how is signal.SIGTERM or code == -how
    local_server.start()
    chroma = local_server.client()
    for name, expected in written.items():
        result = audit(chroma.get_collection(name, embedding_function=None), expected)
        assert result.findings == ()
        assert dataclasses.astuple(result)[1:4] == (len(expected),) * 3


def test_two_servers_on_one_directory_lose_vectors_and_the_audit_says_which(local_server, request):
    """The loss that this product exists to find, made for real."""
    second = type(local_server)(local_server.directory)
    second.start()
    request.addfinalizer(lambda: second.process and second.stop(signal.SIGKILL))
    chroma = local_server.client()
    client.create_collection(chroma, "shared")
    servers = [local_server.client(), second.client()]
    expected = {}
    for round_ in range(12):
        for number, each in enumerate(servers):
            collection = each.get_collection("shared", embedding_function=None)
            expected |= client.write(each, collection, make_records(f"s{number}-{round_}", values.take(100)))
    second.stop()
    local_server.stop()
    local_server.start()
    result = audit(local_server.client().get_collection("shared", embedding_function=None), expected)
    assert result.stored == 2400
    lost = [finding for finding in result.findings if finding.rule == "lost-index"]
    assert len(lost) == 1
    assert f"{2400 - result.indexed} of 2400" in lost[0].message
    assert "Error finding id" in lost[0].evidence


def test_an_unreadable_index_is_a_finding_not_a_crash(local_server):
    chroma = local_server.client()
    collection = client.create_collection(chroma, "broken")
    expected = client.write(chroma, collection, make_records("r", values.take(1000)), batch=500)
    local_server.stop()
    (pickle,) = (local_server.directory / "data").glob("*/index_metadata.pickle")
    pickle.write_bytes(pickle.read_bytes()[:100])
    local_server.start()
    result = audit(local_server.client().get_collection("broken", embedding_function=None), expected)
    rules = {finding.rule for finding in result.findings}
    assert rules
    assert rules <= {"read-failed", "lost-index"}
    assert all(finding.evidence for finding in result.findings)
