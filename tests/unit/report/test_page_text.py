"""report.html as text: what it says of whole, cut, empty, foreign and very large runs."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil

import page_runs
import pytest
from typer.testing import CliRunner

from chroma_qualify.cli import app
from chroma_qualify.errors import UsageError
from chroma_qualify.report import template
from chroma_qualify.report.facts import read_facts
from chroma_qualify.report.page import rule_page, write_page
from chroma_qualify.report.page_diff import write_diff_page
from chroma_qualify.report.pages import Page
from chroma_qualify.report.words import amount, clock, duration, moment, seconds

MOST = 2_000_000  # bytes


def text_of(run_dir) -> str:
    """A page without its style, script and data."""
    page = write_page(run_dir).read_text(encoding="utf-8")
    assert len(page.encode()) <= MOST
    return re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)


def words_of(run_dir) -> str:
    """What a person reads of it."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text_of(run_dir))).split())


def test_everything_is_on_it_and_the_verdict_first(tmp_path):
    told = words_of(page_runs.rich(tmp_path))
    in_order = ("verdict: fail", "Do not promote these manifests.", "719 of 6000", "single-writer", "1.37.2",
                "2 January 2026, 03:04 UTC", "5 min 00 s", "5 findings", "ids: a-17", "one server on the volume",
                "Latency as a table", "WRONG: promised is closed", "undecided: promised is open",
                "Records in store and index", "pod-delete", "the pod was replaced", "the candidate has no autoscaler",
                "cluster create", "--seed 7", "sha256:0123")  # fmt: skip
    at = 0
    for each in in_order:
        at = told.find(each, at)
        assert at >= 0, f"{each} is missing, or comes before what it should come after"
    assert "as promised" in told
    for title in ("Latency", "Acknowledged operations", "Errors", "Ready replicas of one namespace", "CPU", "Memory"):
        assert f"{title} as a table" in told


def test_a_run_that_found_nothing(tmp_path):
    told = words_of(page_runs.rich(tmp_path, findings=()))
    assert "verdict: pass" in told
    assert "Findings None." in told


def test_a_run_that_was_cut_is_no_pass(tmp_path):
    told = words_of(page_runs.cut(tmp_path))
    assert "verdict: unknown" in told
    assert "nothing is proven" in told
    assert "There is no verdict.json" in told
    assert "faults::fault[pod-delete]" in told, "its plan says what was to come"
    assert "Latency as a table" in told


def test_an_empty_directory_has_a_page(tmp_path):
    told = words_of(tmp_path)
    assert "There is no plan.json" in told
    assert "Nothing was recorded that could be drawn." in told


@pytest.mark.parametrize("name", ["verdict.json", "plan.json", "policy.json", "faults.jsonl", "timeline.jsonl",
                                  "history.jsonl", "resources.jsonl"])  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null\n", b'{"verdict": 1}\n', b"\xff\xfe\x00", b"[" * 100_000])
def test_no_file_of_a_run_can_prevent_its_page(tmp_path, name, content):
    run_dir = page_runs.rich(tmp_path)
    (run_dir / name).write_bytes(content)
    assert "How to repeat it" in words_of(run_dir)


@pytest.mark.parametrize("name", ["verdict.json", "plan.json", "faults.jsonl", "history.jsonl"])
def test_a_missing_file_takes_nothing_from_the_others(tmp_path, name):
    run_dir = page_runs.rich(tmp_path)
    (run_dir / name).unlink()
    assert "Ready replicas of one namespace as a table" in words_of(run_dir)


@pytest.mark.parametrize(
    "wrong",
    [{"findings": [{"rule": "r", "severity": "fail", "message": ["no", "text"]}]}, {"experiments": ["x", None]},
     {"versions": []}, {"matrices": [{}]}, {"seed": "seven"}, {"scenarios": [{"name": "a"}]}, {"seconds": "long"},
     {"experiments": [{"experiment": "pod-delete", "outage": 3, "recall": {"a": "b"}}]}],
)  # fmt: skip
def test_a_foreign_verdict_has_a_page(tmp_path, wrong):
    run_dir = page_runs.rich(tmp_path)
    document = json.loads((run_dir / "verdict.json").read_text())
    (run_dir / "verdict.json").write_text(json.dumps(document | wrong))
    assert "How to repeat it" in words_of(run_dir)


def test_thousands_of_findings_stay_small(tmp_path):
    told = words_of(page_runs.rich(tmp_path, findings=page_runs.with_findings(5000)))
    assert "5000 findings" in told
    assert "200 are shown" in told


def test_hostile_texts_are_texts(tmp_path):
    page = write_page(page_runs.hostile(tmp_path)).read_text(encoding="utf-8")
    assert page.count("<script") == 2
    assert "<img" not in page
    assert 'onerror="' not in page
    inside = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert inside is not None
    assert not set("<>&\u2028\u2029") & set(inside[1])
    assert json.loads(inside[1])["bands"]


def test_the_policy_allows_the_one_script_and_the_one_style(tmp_path):
    page = write_page(page_runs.rich(tmp_path)).read_text(encoding="utf-8")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"\sstyle=|\son\w+=", text_of(tmp_path)), "the policy would forbid it"


def test_links_lead_to_what_is_there(tmp_path):
    page = text_of(page_runs.rich(tmp_path))
    anchors = set(re.findall(r'\bid="([^"]*)"', page))
    assert len(anchors) == len(re.findall(r'\bid="([^"]*)"', page)), "an id twice"
    for link in re.findall(r'href="([^"]*)"', page):
        assert (link[1:] in anchors) if link.startswith("#") else (tmp_path / link).exists() or link == "data:,", link


def test_vendored_files_are_those_of_the_table():
    assets = template._ASSETS
    table = (assets / "README.md").read_text()
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert hashlib.sha256((assets / name).read_bytes()).hexdigest() in table


def test_a_rule_page_is_told_shortly(tmp_path, monkeypatch):
    text = (
        "# lost-index\n\n## What\n\nA `record`\nis lost.\n\n[More](../x.md).\n\n## Why\n\nBecause.\n\n## Remedy\n\nR.\n"
    )
    monkeypatch.setattr("chroma_qualify.report.page.pages", lambda: {"lost-index": Page("lost-index", text)})
    assert rule_page("lost-index") == {"What": ["A record is lost.", "More."], "Why": ["Because."]}
    assert rule_page("nothing") == {}
    assert "What. A record is lost." in words_of(page_runs.rich(tmp_path))


def test_numbers_and_times_for_a_person():
    assert [amount(each, "ms") for each in (None, 0.12345, 12, 1234.5)] == [
        "\N{EN DASH}",
        "0.123 ms",
        "12 ms",
        "1,234 ms",
    ]
    assert amount(1536, "bytes") == "1.5 KiB"
    assert [clock(each) for each in (0, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]
    assert [duration(each) for each in (None, 0.44, 42.4, 864, 7500)] == [
        "\N{EN DASH}", "0.44 s", "42 s", "14 min 24 s", "2 h 05 min"]  # fmt: skip
    assert [seconds(each) for each in (None, 0.237, 12.34)] == ["\N{EN DASH}", "0.24 s", "12.3 s"]
    assert moment("2026-01-02T03:04:05+02:00") == "2 January 2026, 01:04 UTC"
    assert moment("2026-01-02") == "2026-01-02"
    assert moment("yesterday") == "yesterday"


def test_two_runs_compared_say_what_differs(tmp_path):
    before = page_runs.rich(tmp_path / "a", findings=page_runs.FINDINGS[3:], run_id="the-first")
    after = page_runs.rich(tmp_path / "b", run_id="the-second")
    done = CliRunner().invoke(
        app, ["diff", str(before), str(after), "--format", "html", "--output", str(tmp_path / "d")]
    )
    assert done.exit_code == 1, done.output
    page = (tmp_path / "d").read_text()
    assert len(page) < MOST
    inside = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    latency = next(chart for chart in inside["charts"] if chart["key"] == "latency")
    assert [line["label"] for line in latency["lines"]] == ["first run", "second run"]
    assert latency["lines"][0]["data"] == latency["lines"][1]["data"], "they recorded the same"
    assert any(latency["lines"][0]["data"])
    told = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page[page.index("<main") :])).split())
    for each in ("worse", "the-first", "the-second", "719 of 6000", "Operations by phase", "first: pod-delete"):
        assert each in told


@pytest.mark.parametrize("kind", [page_runs.cut, page_runs.hostile])
def test_any_two_runs_can_be_compared(tmp_path, kind):
    write_diff_page(page_runs.rich(tmp_path / "a"), kind(tmp_path / "b"), tmp_path / "diff.html")
    page = (tmp_path / "diff.html").read_text()
    assert page.count("<script") == 2
    assert "<img" not in page


def test_the_command_makes_it_again(tmp_path):
    run_dir = page_runs.rich(tmp_path / "run")
    done = CliRunner().invoke(app, ["report", str(run_dir), "--output", str(tmp_path / "a.html")])
    assert done.exit_code == 0
    assert (tmp_path / "a.html").read_text() == write_page(run_dir).read_text(), "the same files give the same page"
    shutil.rmtree(run_dir)
    with pytest.raises(UsageError, match="is not a directory"):
        write_page(run_dir)
    with pytest.raises(UsageError, match="is not a directory"):
        read_facts(run_dir)
