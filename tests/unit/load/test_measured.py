"""Histograms add up exactly; a span says itself when it must not be believed."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.load.measured import Histogram, Span, merged, parse

MICROS = st.lists(st.integers(0, 10_000_000), min_size=1, max_size=200)


def histogram(values):
    return Histogram({value: values.count(value) for value in values})


@given(MICROS, st.floats(0.1, 100))
def test_percentile_is_nearest_rank(values, percent):
    rank = max(1, math.ceil(percent / 100 * len(values) - 1e-9))
    assert histogram(values).percentile(percent) == sorted(values)[rank - 1] / 1e6


@given(st.lists(MICROS, max_size=5))
def test_merged_histograms_are_the_histogram_of_all(parts):
    merged = Histogram.merged(map(histogram, parts))
    assert merged == histogram([value for part in parts for value in part])


@given(MICROS)
def test_no_percentile_exceeds_the_largest(values):
    assert histogram(values).percentile(99.9) <= histogram(values).percentile(100) == max(values) / 1e6


def test_percentile_of_nothing_and_of_nonsense():
    assert Histogram().percentile(50) is None
    with pytest.raises(ValueError, match="percent"):
        Histogram({1: 1}).percentile(0)


def line(number, **values):
    entry = {"kind": "second", "second": number, "due": 10, "sent": 10, "ok": 10, "errors": {},
             "latency": {"4000": 10}, "lag": {"200": 10}}  # fmt: skip
    return json.dumps(entry | values)


START = json.dumps({"kind": "start", "wall": 1000.0, "rate": 10, "seconds": 3})
END = json.dumps({"kind": "end", "wall": 1003.0, "stopped": False, "unanswered": 0})


def test_parse_orders_seconds_and_keeps_complaints():
    load = parse("\n".join([START, line(1), line(0), "Traceback: something", '{"no": "kind"}', END]))
    assert [second.wall for second in load.seconds] == [1000.0, 1001.0]
    assert load.ended
    assert load.said == ("Traceback: something", '{"no": "kind"}')
    assert load.span().due == 20


def test_span_takes_whole_seconds_only():
    load = parse("\n".join([START, *(line(number) for number in range(5))]))
    assert load.span(1000.5, 1004.0).seconds == 3
    assert not load.ended


def test_a_load_that_fell_behind_does_not_count():
    load = parse("\n".join([START, line(0), line(1, due=10, sent=5)]))
    assert "15 of 20" in load.span().not_offered()
    assert parse(START).span().not_offered()


def test_dropped_requests_were_offered_but_failed():
    span = parse("\n".join([START, line(0, sent=4, ok=4, errors={"dropped": 6})])).span()
    assert not span.not_offered()
    assert span.failed == 6


@pytest.mark.parametrize(
    ("lag", "latency", "believed"),
    [
        (4_900, 1_000, True),  # under 5 ms: always
        (9_000, 100_000, True),  # a tenth of the latency
        (11_000, 100_000, False),
        (6_000, 20_000, False),
    ],
)
def test_latency_is_doubted_when_the_loader_was_late(lag, latency, believed):
    span = Span(1, 10, 10, 10, {}, Histogram({latency: 10}), Histogram({lag: 10}))
    assert (span.latency_doubt() == "") is believed


def report(wall, *lines, rate=10.0, capacity=None):
    start = {"kind": "start", "wall": wall, "rate": rate, "seconds": 3, "capacity": capacity}
    return parse("\n".join([json.dumps(start), *lines, END]))


def test_several_loaders_are_added_up_second_by_second():
    one = report(1000.0, line(0), line(1, ok=7, errors={"timeout": 3}), line(2), capacity=50.0)
    other = report(1000.25, line(0), line(1, ok=9, errors={"timeout": 1}), capacity=40.0)
    both = merged([one, other])
    assert (both.rate, both.capacity, both.began, both.ended) == (20.0, 90.0, 1000.0, True)
    assert [second.wall for second in both.seconds] == [1000.0, 1001.0]  # the third is not the other's
    assert both.seconds[0].lasts == 1.25
    span = both.span()
    assert (span.due, span.ok, span.errors) == (40, 36, {"timeout": 4})
    assert span.latency == histogram([4000] * 40)
    assert both.span(end=1002.1).seconds == 1, "the other's last second is not over by then"
    assert both.span(start=1000.1).seconds == 1


def test_one_loader_is_itself():
    load = report(1000.0, line(0))
    assert merged([load]) is load


def test_one_that_was_cut_short_makes_all_of_it_short():
    cut = parse("\n".join([START, line(0)]))
    assert not merged([report(1000.0, line(0)), cut]).ended
