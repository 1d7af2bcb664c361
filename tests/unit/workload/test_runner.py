"""Traffic against a real server: paced, phased, recorded; whatever happens to the server."""

import collections
import dataclasses
import itertools
import signal
import threading
import time

import pytest
from history_lines import read, validate

from chroma_qualify.checks.history import parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits
from chroma_qualify.errors import UsageError
from chroma_qualify.workload.final import final_reads
from chroma_qualify.workload.history import Op, Outcome, Phase, run_clock
from chroma_qualify.workload.plans import NEVER_SYNC, Kind, Step, Workload
from chroma_qualify.workload.recorder import Recorder
from chroma_qualify.workload.records import Record, vectors
from chroma_qualify.workload.runner import Traffic, floors, send
from chroma_qualify.workload.session import Session

# Low floors: a busy machine is no failure of these tests.
MIXED = (
    Workload(Kind.APPEND, rate=12, floor=0.01, lanes=2, first_lane=0),
    Workload(Kind.REGISTER, rate=20, floor=0.01, lanes=3, first_lane=2),
    Workload(Kind.CHURN, rate=20, floor=0.01, lanes=2, first_lane=5),
    Workload(Kind.READ_ONLY, rate=10, floor=0.01, lanes=1, first_lane=7, preload=600),
    Workload(Kind.APPEND, rate=12, floor=0.01, lanes=2, first_lane=8, sync_threshold=NEVER_SYNC),
)


def run_for(traffic, seconds):
    """Let it run; ends early if a lane breaks."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not traffic.failed:
        time.sleep(0.02)


def run_until(traffic, recorder, phase, count, workloads=MIXED, outcome=Outcome.OK):
    """Let it run until every workload has so many operations of the phase that ended so."""
    deadline = time.monotonic() + 60
    while any(recorder.ended(workload.collection, phase, outcome) < count for workload in workloads):
        assert time.monotonic() < deadline, traffic.failed
        run_for(traffic, 0.05)


def certain(lines, collection):
    """By ids: those whose last write was an acknowledged one, alone in its time; id to value, None: deleted."""
    state, unsure, opened = {}, set(), {}
    for line in lines:
        if line["collection"] != collection or line["f"] in {"get", "query", "count"}:
            continue
        if line["type"] == "invoke":
            ids = set(line.get("values") or line["ids"])
            for other in opened.values():
                unsure |= ids & set(other.get("values") or other["ids"])
            opened[line["process"]] = line
        else:
            asked = opened.pop(line["process"])
            if line["type"] == "ok":
                state.update(asked.get("values") or dict.fromkeys(asked["ids"]))
            elif line["type"] == "info":
                unsure |= set(asked.get("values") or asked["ids"])
    return {id_: value for id_, value in state.items() if id_ not in unsure}


def judge_final(lines, workload):
    """What was certainly written is read; what was certainly deleted is not."""
    final = [line for line in lines if line["collection"] == workload.collection and line["phase"] == "final"]
    (store,) = (
        line["values"]
        for asked, line in itertools.pairwise(final)
        if asked["f"] == "get" and asked["type"] == "invoke" and "ids" not in asked and line["type"] == "ok"
    )
    known = certain(lines, workload.collection)
    assert {id_: store.get(id_) for id_ in known} == known
    return known


def judged(path, report=()):
    """The product's own judgement of a recorded history."""
    with path.open("rb") as file:
        return judge(parse(file), Limits.from_json({"floors": floors(report)}), vectors)


@pytest.mark.parametrize("seed", [2**30 - 1])
def test_all_kinds_at_once_on_a_healthy_server(tmp_path, shared_server, seed):
    clock = run_clock()
    with Recorder(tmp_path / "h", clock) as recorder:
        with Traffic(recorder, shared_server.client, MIXED, seed, clock) as traffic:
            run_until(traffic, recorder, Phase.BEFORE, 20)
            traffic.enter(Phase.DURING)
            run_until(traffic, recorder, Phase.DURING, 12)
            traffic.enter(Phase.AFTER)
            run_until(traffic, recorder, Phase.AFTER, 12)
        report = traffic.report()
        finals = {}
        for workload in MIXED:
            session = Session(recorder, shared_server.client(), workload.collection)
            finals[workload] = final_reads(session, traffic.written(workload), near=20)
    lines = read(tmp_path / "h")
    validate(lines)
    assert {line["type"] for line in lines} == {"invoke", "ok"}
    assert {line["phase"] for line in lines} == set(Phase)
    for workload in MIXED:
        known, final = judge_final(lines, workload), finals[workload]
        live = sum(value is not None for value in known.values())
        assert workload.kind is Kind.REGISTER or (final.count == final.stored == final.indexed == live)
        assert final.failed == ()
        assert final.near_found >= 0.95 * final.near_asked > 0 or final.stored == 0
    assert judged(tmp_path / "h", report) == []
    assert set(floors(report)) == {"before", "after"}
    assert len(report) == 15
    for each in report:
        assert each.enough, each
        assert each.invoked == each.ok
        assert each.floor == max(1, int(each.due * 0.01))
    sends = collections.Counter((line["collection"], line["phase"]) for line in lines if line["type"] == "invoke")
    loaded = {"before": 2}
    for each in report:
        more = loaded.get(each.phase, 0) if each.collection.startswith("read-only") else 0
        assert sends[each.collection, each.phase] == each.invoked + more


def test_a_kill_in_the_middle_leaves_a_valid_history(tmp_path, local_server):
    clock = run_clock()
    # Chroma loses collections itself when it is killed at a flush (the product's findings); not here.
    workloads = [dataclasses.replace(workload, sync_threshold=NEVER_SYNC) for workload in MIXED[:3]]
    with Recorder(tmp_path / "h", clock) as recorder:
        with Traffic(recorder, local_server.client, workloads, 5, clock) as traffic:
            run_until(traffic, recorder, Phase.BEFORE, 20, workloads)
            traffic.enter(Phase.DURING)
            local_server.stop(signal.SIGKILL)
            run_until(traffic, recorder, Phase.DURING, 1, workloads, Outcome.FAIL)
        report = traffic.report()
        local_server.start()
        for workload in workloads:
            session = Session(recorder, local_server.client(), workload.collection)
            assert final_reads(session, traffic.written(workload), near=5).failed == ()
    lines = read(tmp_path / "h")
    validate(lines)
    broken = [line for line in lines if line["type"] in {"fail", "info"}]
    assert broken
    assert {line["phase"] for line in broken} <= {"before", "during"}  # `before`: under way at the kill
    assert any("ConnectError" in line["error"] and line["type"] == "fail" for line in broken)
    assert not any("ConnectError" in line["error"] for line in broken if line["type"] == "info")
    for workload in workloads:
        judge_final(lines, workload)
    assert judged(tmp_path / "h") == []
    during = [each for each in report if each.phase is Phase.DURING]
    assert all(each.enough and each.fail for each in during)  # sent ones count while a fault lasts


def test_a_stalled_server_makes_writes_info_and_too_little_traffic_is_seen(tmp_path, local_server):
    clock = run_clock()
    workload = Workload(Kind.BULK, rate=20, lanes=2, floor=0.9)
    with Recorder(tmp_path / "h", clock) as recorder:
        with Traffic(recorder, lambda: local_server.client(timeout=2.0), [workload], 5, clock) as traffic:
            run_until(traffic, recorder, Phase.BEFORE, 8, [workload])
            local_server.process.send_signal(signal.SIGSTOP)
            run_for(traffic, 3.5)
        local_server.process.send_signal(signal.SIGCONT)
        (before,) = traffic.report()
        # What was cut off may still be on its way into the store; then it is quiet.
        final = final_reads(Session(recorder, local_server.client(), workload.collection), traffic.written(workload))
    lines = read(tmp_path / "h")
    validate(lines)
    stalled = [line for line in lines if line["type"] == "info"]
    assert stalled
    assert all("Timeout" in line["error"] for line in stalled)
    assert before.info == len(stalled)
    assert not before.enough
    assert before.ok < before.floor == int(before.due * 0.9)
    assert final.failed == ()
    assert len(judge_final(lines, workload)) > 500
    assert {finding.rule for finding in judged(tmp_path / "h", [before])} == {"too-little-traffic"}


def test_an_add_after_a_doubtful_delete_is_an_upsert(tmp_path, shared_server):
    workload = Workload(Kind.CHURN, rate=1, first_lane=20)
    with Recorder(tmp_path / "h", run_clock()) as recorder:
        with Traffic(recorder, shared_server.client, [workload], 0, run_clock()):
            pass
        session = Session(recorder, shared_server.client(), workload.collection)
        for doubtful in (set(), {"x"}):
            send(
                session,
                Step(Op.ADD, (Record("x", 1 + len(doubtful)), Record("y", 3 + len(doubtful)))),
                Phase.AFTER,
                doubtful,
            )
    asked = [line["f"] for line in read(tmp_path / "h") if line["type"] == "invoke" and line["phase"] == "after"]
    assert asked == ["add", "upsert"]


def test_lanes_that_overlap_are_refused(tmp_path, shared_server):
    with Recorder(tmp_path / "h", run_clock()) as recorder, pytest.raises(UsageError, match="lane 3"):
        Traffic(
            recorder,
            shared_server.client,
            [Workload(Kind.APPEND, 1), Workload(Kind.BULK, 1, first_lane=3)],
            0,
            run_clock(),
        )


def test_an_error_of_ours_is_not_swallowed(tmp_path, shared_server):
    workload = Workload(Kind.APPEND, rate=50, first_lane=30)
    recorder = Recorder(tmp_path / "h", run_clock())

    def breaks():
        with Traffic(recorder, shared_server.client, [workload], 0, run_clock()) as traffic:
            run_for(traffic, 0.3)
            recorder.close()
            run_for(traffic, 5)
            assert traffic.failed

    with pytest.raises(ValueError, match="closed"):
        breaks()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(workload.collection)]
