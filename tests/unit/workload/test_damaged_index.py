"""Final reads of a real server whose index files were damaged on purpose: what cannot be read is said, and quickly."""

import signal
import time

from chroma_qualify.checks.history import parse
from chroma_qualify.checks.plan import Experiment, FaultRecord, PlannedCollection, RunPlan
from chroma_qualify.checks.promises import Setting, Stress
from chroma_qualify.checks.run import judge_all
from chroma_qualify.findings import Severity
from chroma_qualify.workload import client
from chroma_qualify.workload.final import final_reads
from chroma_qualify.workload.history import Phase, run_clock
from chroma_qualify.workload.plans import NEVER_SYNC
from chroma_qualify.workload.recorder import Recorder
from chroma_qualify.workload.records import batches, make_records, values_of, vectors
from chroma_qualify.workload.session import Session

RECORDS = make_records("r", range(2500))
SETTINGS = {"flushed": None, "replayed": NEVER_SYNC}


def written(server, recorder):
    """2,500 records in each collection; the index of the first one is flushed twice."""
    for name, threshold in SETTINGS.items():
        connected = server.client()
        client.create_collection(connected, name, sync_threshold=threshold)
        session = Session(recorder, connected, name)
        for part in batches(RECORDS, 500):
            assert session.add(part, Phase.BEFORE).ok


def judged(path):
    settings = {"flushed": Setting.DEFAULT, "replayed": Setting.NEVER}
    collections = tuple(PlannedCollection(name, setting, {}) for name, setting in settings.items())
    plan = RunPlan(experiments=(Experiment("e", "power-loss", Stress.POWER_LOSS, collections),))
    with path.open("rb") as lines:
        return judge_all(parse(lines), plan, {"e": FaultRecord("e", "power-loss", 0, 1, 2)}, vectors)


def test_a_collection_that_cannot_be_read_at_all_fails_and_its_neighbour_passes(local_server, tmp_path):
    path = tmp_path / "history.jsonl"
    with Recorder(path, run_clock()) as recorder:
        written(local_server, recorder)
        local_server.stop(signal.SIGTERM)
        damaged = list((local_server.directory / "data").rglob("index_metadata.pickle"))
        assert len(damaged) == 1, "only the index that was flushed has files"
        damaged[0].write_bytes(damaged[0].read_bytes()[:100])
        local_server.start()
        began = time.monotonic()
        for name in SETTINGS:
            final_reads(Session(recorder, local_server.client(), name), values_of(RECORDS), near=20, pause=0.1)
        assert time.monotonic() - began < 60  # not one read for each of 2,500 records, several times over
    findings = judged(path).findings
    assert {(finding.rule, finding.collection, finding.severity) for finding in findings} == {
        ("read-failed", "flushed", Severity.FAIL)
    }
    assert "EOF while parsing" in findings[0].evidence


def test_a_healthy_server_passes_after_a_restart(local_server, tmp_path):
    path = tmp_path / "history.jsonl"
    with Recorder(path, run_clock()) as recorder:
        written(local_server, recorder)
        local_server.stop(signal.SIGTERM)
        local_server.start()
        for name in SETTINGS:
            reads = final_reads(Session(recorder, local_server.client(), name), values_of(RECORDS), near=20)
            assert (reads.count, reads.stored, reads.indexed) == (2500, 2500, 2500)
    assert judged(path).findings == ()
