"""Data in, data out: what Chroma's clients do every day, on a real deployment.

The scenarios share one deployment and work in collections (and tenants) of their own.
"""

import time

import numpy as np
import pytest

from chroma_qualify.checks.recall import exact_neighbours, low_recall, recall
from chroma_qualify.workload import client, corpus, embedding
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import VALUE_KEY, Values, make_records, vector, vectors

RECALL_FLOOR = 0.95
MANY = 20_000
QUERIES = 200
BATCH = 2000  # records per request of the bulk load: about 10 MB of JSON
PASSAGES = 250


@pytest.fixture(scope="module")
def deployed(module_deploy):
    """One server for the scenarios of this file."""
    return module_deploy("single-writer")


@pytest.fixture(scope="module")
def values(seed):
    return Values(seed)


def test_insert_query_filter_update_delete(deployed, chroma, report, values):
    """Every kind of write and read on one small collection; after each write everything is read back."""
    server = chroma(deployed)
    collection = client.create_collection(server, "daily")
    records = make_records("r", values.take(200))
    topics = ("walrus", "heron", "badger", "newt")
    texts = [f"field note {number} on the {topics[number % 4]}" for number in range(200)]
    live = client.write(server, collection, records, batch=70, documents=texts)
    report.add(*audit(collection, live).findings)
    assert collection.count() == 200

    middle = records[100].value
    filtered = collection.get(where={VALUE_KEY: {"$gte": middle}}, include=[])
    assert set(filtered["ids"]) == {record.id for record in records[100:]}
    both = {"$and": [{VALUE_KEY: {"$gte": middle}}, {VALUE_KEY: {"$lt": middle + 10}}]}
    (near,) = client.query(collection, vectors([records[0].value]), 50, where=both)
    assert set(near) == {record.id for record in records[100:110]}
    newts = collection.get(where_document={"$contains": "newt"}, include=["documents"])
    assert set(newts["ids"]) == {record.id for record in records[3::4]}
    assert all("newt" in text for text in newts["documents"])

    # An update replaces vector and metadata and leaves the document alone.
    changed = make_records("r", values.take(20))
    live |= client.write(server, collection, changed, how=client.How.UPDATE)
    report.add(*audit(collection, live).findings)
    assert collection.get(ids=["r-3"], include=["documents"])["documents"] == [texts[3]]
    (nearest,) = client.query(collection, vectors([records[0].value]), 1)
    assert nearest != ("r-0",), "the vector from before the update still answers"

    # An upsert changes what is there and adds what is not.
    upserted = make_records("r", values.take(210))[190:]
    live |= client.write(server, collection, upserted, how=client.How.UPSERT)
    assert len(live) == 210
    report.add(*audit(collection, live).findings)

    # An update of what is not there and an add of what is there change nothing.
    client.write(server, collection, make_records("nobody", values.take(1)), how=client.How.UPDATE)
    client.write(server, collection, make_records("r", values.take(1)))
    report.add(*audit(collection, live).findings)

    collection.delete(ids=[f"r-{number}" for number in range(30)])
    collection.delete(where={VALUE_KEY: {"$gte": upserted[0].value}})
    live = {id_: value for number, (id_, value) in enumerate(live.items()) if 30 <= number < 190}
    report.add(*audit(collection, live).findings)
    live |= client.write(server, collection, make_records("r", values.take(30)))  # the deleted ids, anew
    report.add(*audit(collection, live).findings)

    server.delete_collection("daily")
    assert [each.name for each in server.list_collections() if each.name == "daily"] == []


def test_collections_tenants_and_databases_are_apart(deployed, forward, chroma, report, values):
    """The same collection name and the same ids in four databases of two tenants: nothing mixes."""
    way = forward(deployed)
    expected = {}
    for tenant in ("tenant-one", "tenant-two"):
        for database in ("database-one", "database-two"):
            client.create_database(way.host, way.port, tenant, database, credentials=deployed.credentials)
            server = chroma(deployed, tenant=tenant, database=database)
            for name in ("same-name", f"only-in-{tenant}-{database}"):
                collection = client.create_collection(server, name)
                written = client.write(server, collection, make_records("same-id", values.take(20)))
                expected[tenant, database, name] = written
    for (tenant, database, name), written in expected.items():
        server = chroma(deployed, tenant=tenant, database=database)
        assert {each.name for each in server.list_collections()} == {"same-name", f"only-in-{tenant}-{database}"}
        report.add(*audit(server.get_collection(name, embedding_function=None), written).findings)
    first = chroma(deployed, tenant="tenant-one", database="database-one")
    first.delete_collection("same-name")
    other = chroma(deployed, tenant="tenant-one", database="database-two")
    still = other.get_collection("same-name", embedding_function=None)
    report.add(*audit(still, expected["tenant-one", "database-two", "same-name"]).findings)


def test_real_text(deployed, chroma, report):
    """Sentences of Python's own reference, embedded by all-MiniLM-L6-v2, asked for by their headings."""
    passages = corpus.passages(PASSAGES, per_topic=5)
    questions = corpus.questions(passages)
    model = embedding.model()
    began = time.monotonic()
    matrix = model.embed([passage.text for passage in passages])
    report.measure("text embedding", len(passages) / (time.monotonic() - began), "passages/s")
    asked = model.embed([question.text for question in questions])

    server = chroma(deployed)
    collection = client.create_collection(server, "real-text")
    ids = [passage.id for passage in passages]
    collection.add(
        ids=ids,
        embeddings=matrix,
        documents=[passage.text for passage in passages],
        metadatas=[{"topic": passage.topic} for passage in passages],
    )
    stored = collection.get(include=["documents", "metadatas"])
    read = dict(zip(stored["ids"], zip(stored["documents"], stored["metadatas"], strict=True), strict=True))
    assert read == {passage.id: (passage.text, {"topic": passage.topic}) for passage in passages}

    exact = [[ids[row] for row in rows] for rows in exact_neighbours(matrix, asked, 10)]
    returned = list(client.query(collection, asked, 10))
    measured = recall(exact, returned, 10)
    report.measure("recall@10, real text", measured)
    what = f"recall@10 of {len(questions)} questions over {len(passages)} passages"
    report.add(*low_recall(measured, RECALL_FLOOR, what, collection="real-text"))

    # Search by meaning works end to end: the heading of a topic finds a sentence of that topic.
    topics = {passage.id: passage.topic for passage in passages}
    hits = [any(topics[id_] == q.topic for id_ in ids_) for q, ids_ in zip(questions, returned, strict=True)]
    report.measure("questions answered among 10", sum(hits) / len(hits))
    assert sum(hits) / len(hits) >= 0.9
    answer = collection.query(
        query_embeddings=asked[:1], n_results=3, where={"topic": questions[0].topic}, include=["documents"]
    )
    assert {topics[id_] for id_ in answer["ids"][0]} == {questions[0].topic}


def test_recall_over_20000_vectors(deployed, chroma, report, values):
    """The index finds the true nearest neighbours, and lost nothing on the way in."""
    server = chroma(deployed)
    collection = client.create_collection(server, "many")
    records = make_records("m", values.take(MANY))
    began = time.monotonic()
    written = client.write(server, collection, records, batch=BATCH)
    report.measure("insert rate, batches of 2000 x 384-d", MANY / (time.monotonic() - began), "records/s")
    assert collection.count() == MANY == len(written)

    matrix = vectors([record.value for record in records])
    noise = vectors(values.take(QUERIES))
    asked = matrix[:: MANY // QUERIES] + 0.3 * noise  # near what is there, but not the same
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    exact = [[records[row].id for row in rows] for rows in exact_neighbours(matrix, asked, 10)]
    began = time.monotonic()
    returned = list(client.query(collection, asked, 10))
    report.measure("query rate, k = 10, 100 a request", QUERIES / (time.monotonic() - began), "queries/s")
    measured = recall(exact, returned, 10)
    report.measure("recall@10, 20,000 vectors", measured)
    what = f"recall@10 of {QUERIES} queries over {MANY} vectors"
    report.add(*low_recall(measured, RECALL_FLOOR, what, collection="many"))

    # Every id is in the store; every tenth is asked of the index exactly (all of them take a minute).
    store = client.read_store(collection)
    assert store.values == written
    sample = {record.id: record.value for record in records[::10]}
    index = client.read_index(collection, list(sample))
    assert index.lost == ()
    assert len(index.ids) == len(sample)
    assert np.allclose(index.vectors, [vector(sample[id_]) for id_ in index.ids], atol=1e-5)
