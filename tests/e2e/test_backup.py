"""Backups of a Chroma that is written to, and what they are for: the volume is destroyed, and all is back.

The backups are taken, verified and restored by the component's own jobs, on one deployment. The CronJob is suspended
but where its schedule is what is tried, so that no job meets another by chance.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from backup_jobs import (
    by_hand,
    container_of,
    job_end,
    run_jobs,
    scheduled,
    shipped,
    start_hand,
    suspend,
    wait_scheduled,
    with_volume,
)

from chroma_qualify.cluster.wait import poll_for
from chroma_qualify.deployment.apply import apply, ready_pods, wait_gone, wait_ready
from chroma_qualify.errors import UndecidedError
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import VALUE_KEY, Values, make_records, vectors

pytestmark = [
    pytest.mark.beside,
    pytest.mark.own_cluster("the tools of its jobs are an image that our own nodes have"),
]

OVERLAY = Path(__file__).parents[1] / "overlays" / "backup"
QUIET = 700  # records in each quiet collection
BUSY = 200  # records that are written to during the backup
ENOUGH = 5  # acknowledged writes during the backup: with fewer the scenario shows nothing


@pytest.fixture(scope="module")
def deployed(run, module_deploy):
    """One server with the component `backup`, for the scenarios of this file."""
    if run.options.manifests:
        pytest.skip("it tries the component `backup` on manifests of its own, not on the candidate")
    return module_deploy(str(OVERLAY))


@pytest.fixture(scope="module")
def values(seed):
    return Values(seed)


@pytest.fixture(scope="module")
def hand(deployed):
    """A pod with the volume of the backups."""
    return start_hand(deployed)


@dataclasses.dataclass(frozen=True)
class Write:
    """What was asked of one record; times in s (monotonic); `value` None: to delete it."""

    value: int | None
    asked: float
    acknowledged: float | None


class Writer:
    """Changes, adds and deletes records, one request after the other, until it is stopped; remembers all of it."""

    def __init__(self, collection, values, seed):
        self.history: dict[str, list[Write]] = {}
        self.error = None
        self._collection, self._values = collection, values
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def write(self, ids):
        """Change or add records."""
        numbers = list(self._values.take(len(ids)))
        self._do(
            dict(zip(ids, numbers, strict=True)),
            lambda: self._collection.upsert(
                ids=ids,
                embeddings=vectors(numbers),
                metadatas=[{VALUE_KEY: number} for number in numbers],
                documents=[str(number) for number in numbers],
            ),
        )

    def _delete(self, id_):
        self._do({id_: None}, lambda: self._collection.delete(ids=[id_]))

    def _do(self, asked, request):
        began = time.monotonic()
        done = None
        try:
            request()
            done = time.monotonic()
        finally:
            for id_, value in asked.items():
                self.history.setdefault(id_, []).append(Write(value, began, done))

    def _work(self):
        number = 0
        try:
            while not self._stop.is_set():
                number += 1
                known = self._random.sample(sorted(self.history), 6)
                self.write([*known[:4], f"new-{number}"])
                self._delete(known[5])
        except Exception as error:  # noqa: BLE001 (told by `stop`)
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(timeout=120)
        assert self.error is None, f"a write during the backup failed: {self.error}"
        assert not self._thread.is_alive(), "a write during the backup hangs"

    def allowed(self, began, ended):
        """What a backup taken between two times may hold of each record."""
        may = {}
        for id_, writes in self.history.items():
            before = [write for write in writes if write.acknowledged is not None and write.acknowledged < began]
            during = [write.value for write in writes if write not in before and write.asked < ended]
            may[id_] = {before[-1].value if before else None, *during}
        return may


def create_l2(server, name):
    """A collection in whose space Chroma keeps vectors bit by bit, unlike in `cosine`."""
    return client.create_collection(server, name, space="l2")


def test_restore_after_the_volume_is_destroyed(deployed, chroma, report, values, seed):
    """Writes go on during the backup; all that was acknowledged before it began is back, and no record is half."""
    server = chroma(deployed)
    kept = {}
    for name, space, sync_threshold in (("quiet-l2", "l2", None), ("quiet-cosine", "cosine", 100_000)):
        collection = client.create_collection(server, name, space=space, sync_threshold=sync_threshold)
        kept[name] = client.write(server, collection, make_records("q", values.take(QUIET)), batch=350)
    busy = create_l2(server, "busy")
    writer = Writer(busy, values, seed)
    writer.write([f"b-{number}" for number in range(BUSY)])

    with writer:
        began = time.monotonic()
        backup = by_hand(deployed, "backup-by-hand")
        ended = time.monotonic()
    assert backup.code == 0, backup.log
    report.measure("backup job, under writes", ended - began, "s")
    during = [w for writes in writer.history.values() for w in writes if w.acknowledged and began < w.asked < ended]
    report.measure("records written during the backup", len(during))
    if len(during) < ENOUGH:
        raise UndecidedError(f"only {len(during)} records were written during the backup: it proves nothing")

    destroy(deployed, report)
    server = chroma(deployed)
    assert server.list_collections() == [], "the volume was not destroyed: the control fails"
    began_restore = time.monotonic()
    restored = run_jobs(deployed, {"restore": shipped(deployed, "restore")})["restore"]
    assert restored.code == 0, restored.log
    report.measure("restore job", time.monotonic() - began_restore, "s")

    assert {one.name for one in server.list_collections()} == {*kept, "busy"}
    for name, live in kept.items():
        collection = server.get_collection(name, embedding_function=None)
        report.add(*audit(collection, live).findings)
    quiet = server.get_collection("quiet-l2", embedding_function=None).get(include=["embeddings", "metadatas"])
    expected = vectors([metadata[VALUE_KEY] for metadata in quiet["metadatas"]])
    assert np.array_equal(np.asarray(quiet["embeddings"], np.float32), expected), "vectors are not the same bit by bit"
    settings = server.get_collection("quiet-cosine", embedding_function=None).configuration_json["hnsw"]
    assert (settings["space"], settings["sync_threshold"]) == ("cosine", 100_000)

    collection = server.get_collection("busy", embedding_function=None)
    found = whole(collection, report)
    wrong = {
        id_: (found.get(id_), may) for id_, may in writer.allowed(began, ended).items() if found.get(id_) not in may
    }
    if wrong:
        report.fail("lost-in-backup", f"{len(wrong)} records are not as a backup may hold them", evidence=wrong)
    assert set(found) <= set(writer.history), "there are records that nobody wrote"
    report.add(*audit(collection, found).findings)


def whole(collection, report):
    """Id to value of all records; those whose metadata, document and vector do not belong together are reported."""
    got = collection.get(include=["metadatas", "documents", "embeddings"])
    numbers = [metadata[VALUE_KEY] for metadata in got["metadatas"]]
    same = (np.asarray(got["embeddings"], np.float32) == vectors(numbers)).all(axis=1)
    rows = zip(got["ids"], numbers, got["documents"], same, strict=True)
    half = [id_ for id_, number, document, right in rows if str(number) != document or not right]
    if half:
        report.fail("half-a-record", f"{len(half)} records are half old, half new", evidence=half)
    return dict(zip(got["ids"], numbers, strict=True))


def destroy(deployed, report):
    """Delete Chroma with its volume, and bring up an empty one."""
    (pod,) = ready_pods(deployed)
    began = time.monotonic()
    space = f"--namespace={deployed.namespace}"
    claim = f"persistentvolumeclaim/{deployed.candidate.claim}"
    deployed.cluster.run_kubectl("delete", deployed.candidate.name, claim, space, "--wait=true", timeout=300)
    wait_gone(deployed, pod, timeout=300)
    wait_ready(apply(deployed.cluster, deployed.candidate, deployed.namespace), timeout=300)
    report.measure("volume destroyed, empty Chroma ready", time.monotonic() - began, "s")


COPY = """
import pathlib, shutil, sys
name, damage = sys.argv[1:]
copy = pathlib.Path("/backups", f"backup-20990101T000000.{len(damage):03d}Z")
shutil.copytree(pathlib.Path("/backups", name), copy)
file = max(copy.glob("*.parquet"), key=lambda path: path.stat().st_size)
data = bytearray(file.read_bytes())
if damage == "truncate":
    del data[-1:]
else:
    data[len(data) // 2] ^= 1
file.write_bytes(data)
print(copy.name)
"""


def test_damaged_backups_and_a_filled_chroma_are_refused(deployed, hand, chroma, report):
    """A truncated backup, an altered one, a whole one into a Chroma that has data: refused, and nothing is touched."""
    server = chroma(deployed)
    create_l2(server, "in-the-way").add(ids=["mine"], embeddings=vectors([1]), metadatas=[{VALUE_KEY: 1}])
    if not hand.names():
        assert by_hand(deployed, "backup-to-damage").code == 0
    good = hand.names()[-1]
    before = hand.digest(good)
    truncated, altered = (hand.python(COPY, good, damage) for damage in ("truncate", "alter"))
    try:
        done = run_jobs(deployed, {
            "restore-truncated": shipped(deployed, "restore", "restore", truncated),
            "restore-altered": shipped(deployed, "restore", "restore", altered),
            "restore-onto-data": shipped(deployed, "restore", "restore", good),
            "restore-nothing": shipped(deployed, "restore", "restore", "backup-of-nobody"),
            "verify-with-damaged": shipped(deployed, "verify"),
        })  # fmt: skip
    finally:
        for name in (truncated, altered):
            hand.python("import shutil, sys; shutil.rmtree('/backups/' + sys.argv[1])", name)
    assert {name: one.code for name, one in done.items()} == dict.fromkeys(done, 1)
    told = f"backup {truncated} is not what was taken: collection-"
    assert told in done["restore-truncated"].message, done["restore-truncated"].message
    assert "were written" in done["restore-truncated"].message
    assert f"backup {altered} is not what was taken" in done["restore-altered"].message
    assert "was altered" in done["restore-altered"].message
    assert "Chroma is not empty" in done["restore-onto-data"].message
    assert "there is no backup backup-of-nobody" in done["restore-nothing"].message
    assert truncated in done["verify-with-damaged"].message
    assert altered in done["verify-with-damaged"].message
    assert f"{good}: whole" in done["verify-with-damaged"].log

    collection = server.get_collection("in-the-way", embedding_function=None)
    report.add(*audit(collection, {"mine": 1}).findings)
    assert hand.digest(good) == before
    verified = run_jobs(deployed, {"verify": shipped(deployed, "verify")})["verify"]
    assert verified.code == 0, verified.log


INTO_LITTLE = """
import os, shutil, subprocess, sys
name, size = os.environ["EARLIER"], 0
shutil.copytree(f"/earlier/{name}", f"/backups/{name}")
tool = [sys.executable, "-m", "chroma_tools"]
print("left", shutil.disk_usage("/backups").free)
done = subprocess.run([*tool, "backup"], capture_output=True, text=True)
print("backup", done.returncode, done.stderr.strip())
print("verify", subprocess.run([*tool, "verify"]).returncode)
print("there", *sorted(one for one in os.listdir("/backups") if one[0] != "."))
"""


def test_a_full_or_read_only_target_loses_nothing(deployed, hand, report):
    """Clear words, an exit code, and the earlier backups as they were."""
    if not hand.names():
        assert by_hand(deployed, "backup-before-trouble").code == 0
    names = hand.names()
    earlier = names[-1]
    digest = hand.digest(earlier)
    size = int(hand.python("import os, sys; d = '/backups/' + sys.argv[1] + '/'; "
                           "print(sum(os.stat(d + f).st_size for f in os.listdir(d)))", earlier))  # fmt: skip
    read_only = scheduled(deployed)
    container_of(read_only)["volumeMounts"][0]["readOnly"] = True
    # As large as one backup and a little: the earlier one fits in, a second one does not.
    little = f"{size // 1024 + 128}Ki"
    full = with_volume(scheduled(deployed), {"emptyDir": {"medium": "Memory", "sizeLimit": little}})
    pod = full["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "earlier", "persistentVolumeClaim": {"claimName": "chromadb-backups"}})
    container = container_of(full)
    container["volumeMounts"].append({"name": "earlier", "mountPath": "/earlier", "readOnly": True})
    container["env"] = [{"name": "EARLIER", "value": earlier}]
    container |= {"command": ["python3", "-c", INTO_LITTLE], "args": []}

    done = run_jobs(deployed, {"backup-read-only": read_only, "backup-full": full})
    assert done["backup-read-only"].code == 1
    assert "the backup target /backups is not writable (Read-only file system)" in done["backup-read-only"].message
    said = done["backup-full"].log
    report.measure("size of the backup", size / 1e6, "MB")
    assert "backup 1 the backup target /backups is full" in said, said
    assert "verify 0" in said, said
    assert f"there {earlier}\n" in said, said
    assert (hand.names(), hand.digest(earlier)) == (names, digest)


def test_runs_exclude_each_other_and_few_backups_stay(deployed, hand, report):
    """The lock refuses a second run with a clear word; the schedule fires; the two newest backups stay."""
    live = deployed.cluster.get_json("cronjob", "chromadb-backup", f"--namespace={deployed.namespace}")
    assert live["spec"]["concurrencyPolicy"] == "Forbid"
    hand.python("open('/backups/of-somebody-else', 'w').close()")
    before = hand.names()
    with hand.lock_held():
        refused = by_hand(deployed, "backup-beside-another")
    assert (refused.code, hand.names()) == (3, before)
    assert "another run uses /backups: hand, since" in refused.message

    suspend(deployed, suspended=False)
    try:
        wait_scheduled(deployed)
    finally:
        suspend(deployed, suspended=True)
    by_schedule = [job_end(deployed, name) for name in wait_scheduled(deployed)]
    assert {one.code for one in by_schedule} == {0}, by_schedule
    again = by_hand(deployed, "backup-once-more")
    assert again.code == 0, again.log
    kept = hand.names()
    assert len(kept) == 2, kept
    assert [one.log.split(":", maxsplit=1)[0] for one in (by_schedule[-1], again)] == kept, "not the newest ones stay"
    hand.python("import os; os.stat('/backups/of-somebody-else')")


REACH = """
import socket, sys
for host, port in (("chromadb-service", 8000), ("kubernetes.default", 443)):
    try:
        socket.create_connection((host, port), timeout=3).close()
        print(host, "reached")
    except TimeoutError:
        print(host, "dropped")
"""


def test_a_backup_reaches_chroma_and_nothing_else(hand):
    """The hand has the labels of a backup's pod."""
    expected = ["chromadb-service reached", "kubernetes.default dropped"]
    # Waited for: a new pod is known to the policies a while after it runs.
    poll_for(
        "Chroma to be reached, and nothing else",
        lambda: hand.python(REACH).splitlines(),
        lambda seen: seen == expected,
        120,
        1.0,
    )
