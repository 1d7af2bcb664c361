"""The command that repeats a run, and the spans of time that a person writes."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from chroma_qualify.duration import seconds_of, told
from chroma_qualify.errors import UsageError
from chroma_qualify.plugin.command import command_of
from chroma_qualify.plugin.options import Options

PLAIN = Options(
    manifests=None, run_dir=None, seed=7, nodes=1, chroma_version="", k8s_version="", images="auto",
    cluster_name=None, keep=False, kind=None, kubectl=None,
)  # fmt: skip


def test_the_seed_is_always_named():
    assert command_of(PLAIN) == ".venv/bin/chroma-qualify run --seed=7"


def test_what_was_asked_is_one_word_each_and_quoted():
    asked = dataclasses.replace(
        PLAIN,
        manifests=Path("/my manifests/$(touch x)"),
        scenario="recall or 'x'",
        faults=("pod-kill", "power-loss"),
        only=("data::recall[20000]",),
        time_limit=1800.0,
        context="kind-mine",
        load_pods=4,
        one_lane=True,
        yes=True,
        keep=True,
        run_dir=Path("elsewhere"),
        use_cluster="cq-mine",
    )
    assert shlex.split(command_of(asked)) == [
        ".venv/bin/chroma-qualify", "run", "--manifests=/my manifests/$(touch x)", "--scenario=recall or 'x'",
        "--only=data::recall[20000]", "--fault=pod-kill", "--fault=power-loss", "--seed=7", "--time-limit=1800",
        "--cluster=kind-mine", "--load-pods=4", "--one-lane", "--yes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "seconds"), [("600", 600), ("90s", 90), ("30m", 1800), ("1h", 3600), (" 1h30m ", 5400), ("1m30", 90)]
)
def test_spans_of_time(given, seconds):
    assert seconds_of(given, "--time-limit") == seconds


@pytest.mark.parametrize("given", ["", "m", "0", "-5", "1.5h", "30 m", "m30", "8d", "٣", "9" * 30, "999999h", "1h\n2"])
def test_what_is_no_span_of_time_is_refused_by_name(given):
    with pytest.raises(UsageError, match="--time-limit"):
        seconds_of(given, "--time-limit")


def test_spans_are_told_to_a_person():
    shown = [told(seconds) for seconds in (-1, 0.4, 59, 725, 3720)]
    assert shown == ["0 s", "0 s", "59 s", "12 min 05 s", "1 h 02 min"]
