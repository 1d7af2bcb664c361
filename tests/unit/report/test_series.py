"""What charts show of a run directory: rates, percentiles, servers, faults, counts; and of broken ones what is left."""

from __future__ import annotations

import dataclasses
import json

import pytest
from recorded import History, ns, write_lines

from chroma_qualify.errors import UsageError
from chroma_qualify.report.series import read_series


def test_operations_become_rates_and_percentiles_of_each_second(tmp_path):
    history = History()
    for number in range(100):  # answered in 1 … 100 ms, all in second 0
        history.add("upsert", 0.5, (number + 1) / 1000, values={f"r{number}": number})
    history.add("get", 1.0, 0.25, ids=["r0"], values={"r0": 0})
    history.add("get", 2.0, 0.5, "fail", ids=["r0"], error="503 Exception: no")
    history.add("upsert", 2.5, 0.25, "info", values={"x": 200}, error="ReadTimeout")
    history.add("upsert", 3.5, None, values={"y": 201})  # the run ended before its answer
    series = read_series(history.write(tmp_path))
    (traffic,) = series.traffic
    assert (series.width, series.t) == (1.0, [0.0, 1.0, 2.0, 3.0])
    assert (traffic.total.ok, traffic.total.fail, traffic.total.info) == ([100, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1])
    assert traffic.total.p50 == [50.0, 250.0, None, None]
    assert (traffic.total.p95[0], traffic.total.p99[0]) == (95.0, 99.0)
    assert traffic.by_operation["upsert"].ok == [100, 0, 0, 0]
    assert traffic.operations == {
        "upsert": {"ok": 100, "fail": 0, "info": 2},
        "get": {"ok": 1, "fail": 1, "info": 0},
    }
    assert traffic.latency["upsert"] == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert traffic.errors == {"503 Exception": 1, "ReadTimeout": 1}


def test_counts_are_of_what_must_be_there_by_server(tmp_path):
    history = History().add("upsert", 0, 0.1, values={name: number for number, name in enumerate("abcd")})
    history.add("delete", 1, 0.1, ids=["a"])
    history.add("upsert", 2, 0.1, values={"a": 10})  # written again: it must be there
    history.add("delete", 3, 0.1, ids=["b"])  # must not
    history.add("delete", 3, 0.1, "info", ids=["c"])  # nobody knows
    history.add("upsert", 4, 0.1, "fail", values={"e": 11}, error="400 X")
    for server, store, index in (("p-0", "ad", "ad"), ("p-1", "ad", "a"), ("p-2", "a", "")):
        values = dict.fromkeys(store, 1)
        history.add("get", 5, 0.1, phase="final", endpoint=server, values=values)
        history.add("get", 6, 0.1, phase="final", endpoint=server, vectors=True, values=dict.fromkeys(index, 1))
    history.add("count", 7, 0.1, phase="final", count=2)
    history.add("upsert", 8, 0.1, values={"z": 20}, collection="unread")
    counts = read_series(history.write(tmp_path)).counts
    assert {(each.collection, each.endpoint): (each.acknowledged, each.store, each.index) for each in counts} == {
        ("c", ""): (2, 2, None),
        ("c", "p-0"): (2, 2, 2),
        ("c", "p-1"): (2, 2, 1),
        ("c", "p-2"): (2, 1, 0),
        ("unread", ""): (1, None, None),
    }


def test_one_servers_reads_count_once_nothing_is_written_any_more(tmp_path):
    """As the scenario with three servers reads them: each by its name, before the final reads through the Service."""
    history = History().add("get", 0, 0.1, phase="during", endpoint="p-0", values={})
    history.add("upsert", 1, 0.1, phase="during", endpoint="p-0", values={"a": 1, "b": 2})
    history.add("get", 1.05, 0.5, phase="after", endpoint="p-0", values={})  # began before the write was over
    for server, values in (("p-0", {"a": 1, "b": 2}), ("p-1", {"a": 1})):
        history.add("get", 2, 0.1, phase="after", endpoint=server, values={"a": 1, "b": 2})
        history.add("query", 3, 0.1, phase="after", endpoint=server, k=2, values=values)
    history.add("get", 4, 0.1, phase="after", values={})  # through the Service: nobody knows whom
    counts = read_series(history.write(tmp_path)).counts
    assert [(each.endpoint, each.acknowledged, each.store, each.index) for each in counts] == [
        ("p-0", 2, 2, 2),
        ("p-1", 2, 2, 1),
    ]


def test_servers_faults_scenarios_and_use(tmp_path):
    workload = {"kind": "Deployment", "event": "MODIFIED", "namespace": "n", "name": "chromadb"}
    write_lines(
        tmp_path / "timeline.jsonl",
        {"time": 0, "kind": "Start", "wall": "2026-01-01T00:00:00+00:00"},
        {"time": ns(1), **workload, "wanted": 1, "ready": 0},
        {"time": ns(2), **workload, "wanted": 1, "ready": 1},
        {"time": ns(3), **workload, "wanted": 1, "ready": 1, "generation": 2},
        {"time": ns(4), "kind": "Gap", "event": "BEGIN", "reason": "connection refused"},
        {"time": ns(5), "kind": "Gap", "event": "END", "reason": ""},
        {"time": ns(6), **workload, "event": "DELETED", "wanted": 1, "ready": 1},
    )
    write_lines(
        tmp_path / "faults.jsonl",
        {"experiment": "kill-1", "fault": "kill", "begin": ns(2), "proven": ns(2.5), "healed": ns(4)},
        {"experiment": "kill-2", "fault": "kill", "begin": ns(5), "error": "it did not come back"},
        {"experiment": "node-away", "fault": "node-away", "unavailable": "no node of ours"},
    )
    sample = {"namespace": "n", "pod": "a"}
    write_lines(
        tmp_path / "resources.jsonl",
        {"time": ns(1), **sample, "container": "chroma", "cpu": 0.5, "memory": 100},
        {"time": ns(1), **sample, "container": "proxy", "cpu": 0.25, "memory": 50},
        {"time": ns(3), **sample, "container": "chroma", "cpu": 1.25, "memory": 350},
        {"time": ns(6), "namespace": "n", "pod": "b", "container": "chroma", "cpu": 1.0, "memory": 10},
        {"time": ns(6), **sample, "container": "chroma", "cpu": 0.5, "memory": 20},
    )
    scenario = {"name": "faults::kill", "outcome": "pass", "began": 1.5, "seconds": 3.0}
    idle = {"name": "scale::out", "outcome": "not-run", "began": None, "seconds": 0.0}
    (tmp_path / "verdict.json").write_text(json.dumps({"seconds": 8.0, "scenarios": [idle, scenario]}))
    series = read_series(tmp_path)
    (servers,) = series.replicas
    assert (servers.workload, servers.t, servers.ready) == ("Deployment/chromadb", [1.0, 2.0, 6.0], [0, 1, 0])
    assert [(gap.begin, gap.end, gap.told) for gap in series.gaps] == [(4.0, 5.0, "connection refused")]
    assert [(band.name, band.begin, band.proven, band.end, band.told) for band in series.faults] == [
        ("kill-1", 2.0, 2.5, 4.0, ""),
        ("kill-2", 5.0, None, None, "it did not come back"),
    ]
    assert [(band.name, band.begin, band.end, band.what) for band in series.scenarios] == [
        ("faults::kill", 1.5, 4.5, "pass")
    ]
    assert [(used.pod, used.t, used.cpu, used.memory) for used in series.usage] == [
        ("a", [0.0, 5.0], [1.0, 0.5], [250, 20]),
        ("b", [5.0], [1.0], [10]),
    ]
    totals = series.totals
    assert (totals.t, totals.cpu_sum, totals.cpu_max) == ([0.0, 5.0], [1.0, 1.5], [1.0, 1.0])
    assert (totals.memory_sum, totals.memory_max) == ([250, 30], [250, 20])
    assert (series.seconds, len(series.t), series.notes) == (8.0, 9, [])


@pytest.mark.parametrize(
    ("ours", "theirs", "shift"),
    [
        (({"origin": ns(100)}, "00:00"), ({"origin": ns(100)}, "00:09"), 0.0),
        (({"origin": ns(100)}, "00:00"), ({"origin": ns(130)}, "00:09"), 30.0),
        (({}, "00:00"), ({}, "00:20"), 20.0),  # written before there was an origin
    ],
)
def test_the_second_lane_is_laid_on_the_same_axis(tmp_path, ours, theirs, shift):
    for place, (plan, wall) in (("", ours), ("beside", theirs)):
        History().add("upsert", 2, 0.5, values={"a": 1}).write(tmp_path / place)
        (tmp_path / place / "plan.json").write_text(json.dumps({**plan, "scenarios": ["b::x"]}))
        write_lines(
            tmp_path / place / "timeline.jsonl",
            {"time": ns(1), "kind": "Start", "wall": f"2026-01-01T00:{wall}+00:00"},
        )
    write_lines(tmp_path / "beside" / "faults.jsonl", {"experiment": "e", "fault": "f", "begin": ns(1)})
    began = {"outcome": "pass", "seconds": 1.0}
    document = {"scenarios": [{"name": "a::x", "began": 1.0, **began}, {"name": "b::x", "began": 2.0, **began}]}
    (tmp_path / "verdict.json").write_text(json.dumps(document))
    series = read_series(tmp_path)
    own, beside = series.traffic
    assert (own.lane, own.total.ok.index(1)) == ("", 2)
    assert (beside.lane, beside.total.ok.index(1)) == ("beside", 2 + int(shift))
    assert [(band.lane, band.begin) for band in series.faults] == [("beside", 1.0 + shift)]
    assert [(band.name, band.lane) for band in series.scenarios] == [("a::x", ""), ("b::x", "beside")]
    assert series.notes == ["CPU and memory: nothing was measured (no resources.jsonl)"]


def test_a_run_that_must_fail_has_its_own_counts(tmp_path):
    History().add("upsert", 1, 0.1, values={"a": 1}).write(tmp_path)
    expected = History().add("upsert", 1, 0.1, values={"b": 2})
    expected.add("get", 2, 0.1, phase="final", endpoint="p-0", values={})
    expected.write(tmp_path / "expected" / "scaled-out-writes")
    series = read_series(tmp_path)
    assert [traffic.lane for traffic in series.traffic] == ["", "expected/scaled-out-writes"]
    assert [(each.lane, each.store) for each in series.counts if each.endpoint] == [("expected/scaled-out-writes", 0)]


def test_what_is_cut_or_broken_takes_nothing_from_the_rest(tmp_path):
    good = History().add("upsert", 0.5, 0.25, values={"a": 1}).add("upsert", 0.6, 0.25, values={"b": 2}).text()
    (tmp_path / "history.jsonl").write_text(good + '{"index":4,"ti')
    write_lines(tmp_path / "timeline.jsonl", {"kind": "Gap"}, {"time": "noon", "kind": "Deployment"}, tail='{"time":')
    write_lines(tmp_path / "faults.jsonl", {"fault": 1}, {"begin": True}, tail="[]\n")
    write_lines(tmp_path / "resources.jsonl", {"time": ns(1)}, {"time": ns(1), "cpu": "much", "memory": 3})
    (tmp_path / "verdict.json").write_text("{")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "history.jsonl").write_bytes(b"\xff\xfe not JSON\n")
    series = read_series(tmp_path)
    assert series.traffic[0].total.ok == [2, 0]
    told = "\n".join(series.notes)
    for words in ("history.jsonl: the last line (5) is cut off", "timeline.jsonl: 1 of 3 lines", "faults.jsonl: 1 of 3",
                  "verdict.json cannot be read", "beside/history.jsonl: "):  # fmt: skip
        assert words in told
    json.dumps(dataclasses.asdict(series))


def test_a_line_of_another_format_ends_a_history_and_is_named(tmp_path):
    text = History().add("upsert", 0.5, 0.25, values={"a": 1}).text()
    (tmp_path / "history.jsonl").write_text(
        text + '{"index":2,"time":900000000,"process":9,"type":"invoke","f":"sing"}\n'
    )
    series = read_series(tmp_path)
    assert series.traffic[0].total.ok == [1]
    assert any("line 3" in note for note in series.notes)


def test_an_empty_directory_has_an_empty_series_and_none_is_a_wrong_request(tmp_path):
    series = read_series(tmp_path)
    assert (series.traffic, series.replicas, series.counts, series.t) == ([], [], [], [0.0])
    assert "there is no verdict.json: the run was cut short" in series.notes
    with pytest.raises(UsageError, match="is no directory"):
        read_series(tmp_path / "nothing")


def test_a_long_run_stays_small(tmp_path):
    """Twelve hours of two lanes and forty pods: the page that carries it must stay below 2 MB."""
    for place in ("", "beside"):
        history = History()
        for number in range(12_000):
            f = ("add", "upsert", "delete", "get", "query", "count")[number % 6]
            fields: dict[str, object] = {"ids": ["a"]} if f == "delete" else {}
            if f in {"add", "upsert"}:
                fields = {"values": {f"r{number}": number}}
            answer = {"count": 1} if f == "count" else {"values": {}} if f in {"get", "query"} else {}
            history.add(
                f, number * 3.6, 0.0123456 + number / 1e6, **fields, **answer, **({"k": 1} if f == "query" else {})
            )
        history.write(tmp_path / place)
    write_lines(
        tmp_path / "resources.jsonl",
        *(
            {"time": ns(at), "namespace": "n", "pod": f"p-{pod}", "container": "c", "cpu": at / 7e4,
             "memory": 123_456_789 + at}
            for at in range(0, 43_200, 60)
            for pod in range(40)
        ),
    )  # fmt: skip
    series = read_series(tmp_path)
    assert len(json.dumps(dataclasses.asdict(series))) < 1_000_000
    assert series.width == 60.0
    assert len(series.usage) == 24
    assert "CPU and memory: the 24 largest of 40 pods are shown, the sum is of all" in series.notes
    number = sum(sum(traffic.total.ok) * series.width for traffic in series.traffic)
    assert number == pytest.approx(24_000, rel=1e-3), "nothing is lost by making it small"
