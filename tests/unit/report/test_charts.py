"""What charts are made of: bins, rows of bands that do not overlap, sentences and tables."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.report import charts
from chroma_qualify.report.charts import Line, chart, lanes, timeline
from chroma_qualify.report.shapes import Band, Rates, Replicas, Series, Totals, Traffic

SPAN = st.tuples(st.floats(0, 100), st.floats(0, 50))


def series(**some: object) -> Series:
    nothing = Totals([], [], [], [], [])
    names = ("traffic", "replicas", "usage", "faults", "scenarios", "gaps", "counts", "notes")
    empty: dict = {name: [] for name in names}
    return Series(**({"seconds": 4.0, "width": 1.0, "t": [0.0, 1.0, 2.0, 3.0], "totals": nothing, **empty} | some))


def fault(name: str, begin: float, end: float | None, proven: float | None = None) -> Band:
    return Band("", "fault", name, "pod-delete", begin, end, proven)


def traffic(lane: str, ok: list[float], p95: list[float | None]) -> Traffic:
    rates = Rates(ok, [0.0] * 4, [0.0, 0.0, 1.0, 0.0], p95, p95, p95)
    return Traffic(lane, rates, {"get": rates}, {}, {}, {})


def test_nothing_recorded_draws_nothing():
    line = timeline(series())
    assert line.charts == line.bands == ()
    assert line.seconds == 4.0


def test_both_lanes_are_one_throughput_and_the_slower_latency():
    both = series(
        traffic=[traffic("", [1, 2, 0, 0], [5, None, None, 1]), traffic("beside", [0, 3, 0, 1], [9, 4, None, 2])]
    )
    by_key = {each.key: each for each in timeline(both).charts}
    assert by_key["throughput"].lines[0].data == [1, 5, 0, 1]
    assert by_key["latency"].lines[1].data == [9, 4, None, 2]
    assert by_key["errors"].lines[1].data == [0, 0, 2, 0]
    assert by_key["latency"].told.startswith("Latency: p50 median 4 ms, highest 9 ms at 0:00;")


def test_servers_of_two_namespaces_are_never_added():
    one = Replicas("", "a", "Deployment/chromadb", [0.2, 2.5], [1, 0], [1, 1])
    other = Replicas("", "b", "Deployment/chromadb", [1.0], [3], [3])
    (chart,) = timeline(series(replicas=[one, other])).charts
    assert [(line.label, line.data) for line in chart.lines] == [("chromadb", [1, 3, 3, 3])]
    assert "highest 3 at" in chart.told


def test_a_measured_value_holds_until_it_is_old():
    times = [float(second) for second in range(20)]
    column = charts._binned([1.5, 1.7, 14.0], [3.0, 2.0, 7.0], times)
    assert column[:2] == [None, 3.0]
    assert column[10:15] == [3.0, 3.0, None, None, 7.0]


@given(spans=st.lists(SPAN, max_size=6))
def test_bands_of_a_row_do_not_overlap(spans):
    bands = lanes(series(seconds=200.0, faults=[fault("f", begin, begin + long) for begin, long in spans]))
    assert len(bands) == len(spans)
    for one, other in itertools.combinations(bands, 2):
        assert one.lane != other.lane or one.end <= other.begin or other.end <= one.begin


def test_scenarios_stand_below_faults_and_an_open_end_is_the_end():
    scenario = Band("", "scenario", "data::a", "pass", 0.0, 4.0)
    gap = Band("", "gap", "", "", 2.0, 3.0)
    bands = lanes(series(faults=[fault("a", 0.0, None, 1.0), fault("b", 1.0, 2.0)], scenarios=[scenario], gaps=[gap]))
    told = {band.name: (band.kind, band.state, band.begin, band.end, band.lane) for band in bands}
    assert told == {
        "a": ("fault", "proven", 0.0, 4.0, 0),
        "b": ("fault", "unproven", 1.0, 2.0, 1),
        "not watched": ("gap", "the API server was away", 2.0, 3.0, 2),
        "data::a": ("scenario", "pass", 0.0, 4.0, 3),
    }


def test_a_long_chart_has_a_short_table_of_peaks():
    times = [float(second) for second in range(1000)]
    told = chart("cpu", "CPU", "cores", [Line("all", 1, times)], times)
    assert len(told.rows) <= 48
    assert told.rows[0] == ("0:00", "20 cores")
    assert told.rows[-1][1] == "999 cores"
    assert told.head == ("from", "all, highest of each row")
    assert told.spec()["lines"][0]["data"][:3] == [0, 1, 2]
