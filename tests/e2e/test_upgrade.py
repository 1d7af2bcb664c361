"""From the manifests in use to the candidate and back: nothing acknowledged is lost, what has no way back is refused.

    make e2e BASELINE=DIR MANIFESTS=DIR SCENARIOS=upgrade

Without BASELINE the oldest Chroma at hand is what is in use. The scenarios share one deployment and go in sequence:
promoted under writes, back, forward again. Collections of every kind are written before and read after each step; what
a start is going to do to the database is said before it does it.
"""

import dataclasses

import numpy as np
import pytest

from chroma_qualify.cluster.images.ensure import older_chromas
from chroma_qualify.deployment.fingerprint import fingerprint
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.migrations import REFUSED, Way, guard_sentence, is_guarded
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records, vectors

pytestmark = pytest.mark.beside

BATCH = 500
# Chroma flushes its index every 1000 writes: in the log only, flushed, one record in the log.
SIZES = (999, 1000, 1001)
SPACES = ("cosine", "l2", "ip")
SMALL = 60
BRIEFLY_LEFT_OUT = {"quiet-999", "quiet-1000", "never-flushed"}
TENANT, DATABASE = "upgrade-tenant", "upgrade-database"
NEVER = 1_000_000  # a sync_threshold that is never reached


@dataclasses.dataclass(frozen=True)
class Kept:
    """A collection that nobody touches: where it is, and what is in it."""

    name: str
    values: dict[str, int]
    space: str = "cosine"
    texts: tuple[str, ...] = ()
    tenant: str = client.TENANT
    database: str = client.DATABASE


@pytest.fixture(scope="module")
def kept(promotion, seed):
    """Collections of every kind, written to what is in use; name to what they hold."""
    values = Values(seed)
    there = []
    with way_to(promotion.deployed) as way:
        server = connected(promotion.deployed, way)
        there += [written(server, Kept(f"quiet-{size}", {}), values.take(size)) for size in SIZES]
        there += [written(server, Kept(f"space-{space}", {}, space), values.take(SMALL)) for space in SPACES]
        texts = tuple(f"field note {number} on the walrus [{number}]" for number in range(SMALL))
        there.append(written(server, Kept("texts", {}, texts=texts), values.take(SMALL)))
        there.append(written(server, Kept("never-flushed", {}), values.take(300), sync_threshold=NEVER))
        credentials = promotion.deployed.credentials
        client.create_database(way.host, way.port, TENANT, DATABASE, credentials=credentials)
        elsewhere = connected(promotion.deployed, way, tenant=TENANT, database=DATABASE)
        apart = Kept("quiet-999", {}, tenant=TENANT, database=DATABASE)  # a name that the first one has, too
        there.append(written(elsewhere, apart, values.take(SMALL)))
    return there


def test_promotion_under_writes(promotion, kept, run, report):
    """The candidate is applied over what is in use while clients write and read."""
    run.say(f"promotion: {promotion.step.notice}")
    if promotion.step.way is not Way.SAME:
        report.note(f"migration-{promotion.step.way.value}", promotion.step.notice)
    done = promotion.promote()
    report.measure("server ready", done.struck.ready_seconds, "s")
    said = guard_sentence(pod_of(promotion.deployed)) if is_guarded(promotion.candidate) else ""
    if said:
        run.say(f"promotion: its guard said: {said}")
    if is_guarded(promotion.candidate) and promotion.step.way is Way.ONE_WAY and not said.startswith("one-way"):
        report.fail("migration-unsaid", "the guard did not say that the migration is one-way", evidence=said)

    result = promotion.judge()
    if result.outage is not None:
        report.measure("unavailable", result.outage.unavailable, "s")
        report.measure("errors", sum(result.outage.errors.values()))
    report.add(*result.findings)
    read_all(promotion.deployed, kept, report)


def test_the_way_back(promotion, kept, run, report):
    """What was in use is applied again: it works with all data, or is refused before the data are touched."""
    promotion.require_promoted()
    way = promotion.step.way
    if way is not Way.SAME and not is_guarded(promotion.baseline):
        text = f"the way back is not guarded: {promotion.step.notice}; applied again, the baseline would just start"
        report.note("rollback-unguarded", text, remedy="put manifests/components/upgrade-guard on the baseline first")
        return
    refusal = attempt(promotion, promotion.baseline, report)
    if refusal is None:
        run.say("the way back: the baseline runs again")
        if way is Way.ONE_WAY:
            report.fail("rollback-let-through", f"the baseline started although {promotion.step.notice}")
        read_all(promotion.deployed, kept, report)
    else:
        run.say(f"the way back: {refusal.message}")
        if way is Way.SAME:
            report.fail(refusal.rule, refusal.message, evidence=refusal.evidence, remedy=refusal.remedy)
    promotion.apply(promotion.candidate)
    read_all(promotion.deployed, kept, report, briefly=refusal is not None)  # else its files are as they were


def test_back_to_1_4_until_a_list_is_stored(promotion, kept, run, report):
    """Chroma 1.4 reads all of a newer database until a list is stored as a metadata value; from then on it must not."""
    if run.options.manifests:
        pytest.skip("it tries images of its own on our own topology, not the candidate")
    promotion.require_promoted()
    before_lists = promotion.with_image(older_chromas()[-1])
    refusal = attempt(promotion, before_lists, report)
    assert refusal is None, f"1.4 was refused although no list is stored: {refusal}"
    assert guard_sentence(pod_of(promotion.deployed)).startswith("rollback allowed: ")
    read_all(promotion.deployed, kept, report, briefly=True)

    promotion.apply(promotion.candidate)
    with way_to(promotion.deployed) as way:
        lists = client.create_collection(connected(promotion.deployed, way), "lists")
        lists.add(ids=["tagged"], embeddings=vectors([1]), metadatas=[{"tags": ["a", "b"]}])
    refusal = attempt(promotion, before_lists, report)
    assert refusal is not None, "1.4 was let onto a database with lists"
    assert "cannot read the lists" in refusal.message

    promotion.apply(promotion.candidate)
    read_all(promotion.deployed, kept, report)
    with way_to(promotion.deployed) as way:
        lists = connected(promotion.deployed, way).get_collection("lists", embedding_function=None)
        assert lists.get(ids=["tagged"])["metadatas"] == [{"tags": ["a", "b"]}]


def attempt(promotion, manifests, report):
    """Apply a set of manifests to a stopped server; the guard's refusal, or None if the server is ready.

    A refusal must leave every file of the volume as it was.
    """
    promotion.stop()
    before = fingerprint(promotion.deployed)
    if not before:
        raise UndecidedError("there is no file on the volume that could have been touched")
    try:
        promotion.apply(manifests)
    except CandidateError as error:
        if error.rule != REFUSED:
            raise
        if (after := fingerprint(promotion.deployed)) != before:
            changed = sorted(set(before) ^ set(after))
            report.fail("rollback-touched-data", "the rollback was refused, but files have changed", evidence=changed)
        report.measure("files that a refusal left as they were", len(before) / 2)
        return error
    return None


def written(server, kept, numbers, *, sync_threshold=None):
    """Make the collection and write it."""
    collection = client.create_collection(server, kept.name, space=kept.space, sync_threshold=sync_threshold)
    records = make_records(kept.name, numbers)
    live = client.write(server, collection, records, batch=BATCH, documents=list(kept.texts) or None)
    return dataclasses.replace(kept, values=live)


def read_all(deployed, kept, report, *, briefly=False):
    """Every record is in the store and in the index, and distances are those of the collection's own space.

    Briefly: one of the larger collections, and all small ones.
    """
    with way_to(deployed) as way:
        for each in kept:
            if briefly and each.name in BRIEFLY_LEFT_OUT and each.tenant == client.TENANT:
                continue
            server = connected(deployed, way, tenant=each.tenant, database=each.database)
            collection = server.get_collection(each.name, embedding_function=None)
            report.add(*audit(collection, each.values).findings)
            judge_distances(collection, each, report)
            if each.texts:
                found = collection.get(where_document={"$contains": "walrus [7]"}, include=["documents"])
                assert found["documents"] == [each.texts[7]], found


def judge_distances(collection, kept, report):
    """Chroma 1.2 opens a newer database and takes another space than the collection's, without an error."""
    asked, other = vectors(list(kept.values.values())[:2])
    exact = {"cosine": 1 - asked @ other, "ip": 1 - asked @ other, "l2": float(np.sum((asked - other) ** 2))}
    second = list(kept.values)[1]
    answer = collection.query(query_embeddings=[asked], n_results=1, ids=[second], include=["distances"])
    ((distance,),) = answer["distances"]
    if abs(distance - exact[kept.space]) > 1e-3:
        text = f"distances of {kept.name} are no longer {kept.space}: {distance:.4f} instead of {exact[kept.space]:.4f}"
        report.fail("wrong-distance", text, collection=kept.name, remedy="restore a backup from before the change")


def way_to(deployed):
    candidate = deployed.candidate
    return open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port)


def connected(deployed, way, **options):
    return client.connect(way.host, way.port, credentials=deployed.credentials, **options)


def pod_of(deployed):
    """The pod that runs now, as the API server shows it."""
    pods = deployed.cluster.get_json(
        "pods", f"--namespace={deployed.namespace}", "-l", deployed.candidate.label_selector
    )
    live = [pod for pod in pods["items"] if not pod["metadata"].get("deletionTimestamp")]
    if len(live) != 1:
        raise UndecidedError(f"one pod should run, there are {len(live)}")
    return live[0]
