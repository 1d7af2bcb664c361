"""The plugin on inner sessions of pytest's own `pytester`; none of them needs a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chroma_qualify.plugin.fixtures  # noqa: F401 (imported here once, not in every inner session)

PLUGIN = (
    *("-p", "chroma_qualify.plugin", "-p", "no:cacheprovider", "-o", "console_output_style=classic"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # because of that import
)


@pytest.fixture
def qualify(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run an inner test file; returns pytest's result and verdict.json (None if there is none)."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # several of them take half a second each

    def run(body: str, *args: str):
        pytester.makepyfile(test_inner=body)
        result = pytester.runpytest_inprocess(*PLUGIN, *args)
        latest = pytester.path / "runs" / "latest" / "verdict.json"
        return result, json.loads(latest.read_text()) if latest.exists() else None

    return run


def rules(verdict) -> list[tuple[str, str]]:
    return [(finding["rule"], finding["severity"]) for finding in verdict["findings"]]


@pytest.mark.parametrize(
    ("statement", "exit_code", "verdict", "rule"),
    [
        ("pass", 0, "pass", None),
        ("raise CandidateError('lost-index', 'one of 3 is lost')", 1, "fail", "lost-index"),
        ("assert 1 == 2", 1, "fail", "scenario-failed"),
        ("raise ValueError('a wrong answer')", 1, "fail", "scenario-failed"),
        ("raise httpx.HTTPStatusError('500', request=None, response=None)", 1, "fail", "scenario-failed"),
        ("raise WaitTimeoutError('waited 3 s for a pod; last seen: nothing')", 3, "unknown", "timeout"),
        ("raise subprocess.TimeoutExpired('kubectl', 3)", 3, "unknown", "timeout"),
        ("raise httpx.ReadTimeout('timed out')", 3, "unknown", "no-answer"),
        ("raise httpx.RemoteProtocolError('Server disconnected')", 3, "unknown", "no-answer"),
        ("raise requests.exceptions.ConnectionError('reset')", 3, "unknown", "no-answer"),
        ("raise ConnectionRefusedError(111, 'Connection refused')", 3, "unknown", "no-answer"),
        ("could_not_connect()", 3, "unknown", "no-answer"),
        ("raise UndecidedError('the control got through')", 3, "unknown", "undecided"),
        ("raise InfraError('docker is gone')", 4, "infra", "infra"),
        ("raise ApiException(status=500)", 4, "infra", "cluster-api"),
        ("raise OSError(28, 'No space left on device')", 4, "infra", "disk-full"),
        ("undefined_name", 3, "unknown", "harness-error"),
        ("pytest.skip('no HPA')", 3, "unknown", "nothing-ran"),
        ("raise KeyboardInterrupt", 3, "unknown", "interrupted"),
    ],
)
def test_outcome_mapping(qualify, statement, exit_code, verdict, rule):
    result, written = qualify(f"{IMPORTS}\ndef test_it():\n    {statement}\n")
    assert result.ret == exit_code
    assert written["verdict"] == verdict
    assert [found for found, _ in rules(written)] == ([rule] if rule else [])


IMPORTS = """
import subprocess
import httpx
import pytest
import requests
from kubernetes.client import ApiException
from chroma_qualify.cluster.wait import WaitTimeoutError
from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
def could_not_connect():  # as chromadb does it
    try:
        raise httpx.ConnectError('refused')
    except httpx.ConnectError:
        raise ValueError('Could not connect to a Chroma server')
"""


def test_fail_beats_infra_beats_unknown(qualify):
    result, verdict = qualify(
        IMPORTS
        + """
def test_unknown(): raise UndecidedError('u')
def test_infra(): raise InfraError('i')
def test_fail(): raise CandidateError('r', 'f')
def test_passes(): pass
"""
    )
    assert result.ret == 1
    assert rules(verdict) == [("undecided", "unknown"), ("infra", "infra"), ("r", "fail")]
    assert [scenario["outcome"] for scenario in verdict["scenarios"]] == ["unknown", "infra", "fail", "pass"]
    result.assert_outcomes(failed=3, passed=1)


def test_an_error_in_setup_is_infra_and_is_told_once(qualify):
    result, verdict = qualify(
        """
import pytest
@pytest.fixture(scope="session")
def broken(): raise RuntimeError("kind said no")
def test_first(broken): pass
def test_second(broken): pass
"""
    )
    assert result.ret == 4
    assert rules(verdict) == [("setup-failed", "infra")]
    assert [scenario["outcome"] for scenario in verdict["scenarios"]] == ["infra", "not-run"]
    assert "kind said no" in verdict["scenarios"][1]["reason"]


def test_an_error_in_teardown_is_not_lost(qualify):
    result, verdict = qualify(
        """
import pytest
@pytest.fixture
def leaky():
    yield
    raise RuntimeError("cannot delete")
def test_it(leaky): pass
"""
    )
    assert result.ret == 4
    assert rules(verdict) == [("setup-failed", "infra")]


def test_soft_findings_let_the_scenario_go_on_and_fail_it_at_its_end(qualify):
    result, verdict = qualify(
        """
from pathlib import Path
def test_it(report):
    report.measure("recall@10", 0.93)
    report.fail("low-recall", "0.93 is less than 0.95", evidence=[1, 2], remedy="raise ef", collection="c")
    report.unknown("no-proof", "nobody saw the fault")
    Path("reached").touch()
def test_next(report):
    report.measure("seconds", 2, "s")
"""
    )
    assert Path("reached").exists()
    assert result.ret == 1
    assert verdict["findings"][0] == {
        "rule": "low-recall",
        "severity": "fail",
        "message": "0.93 is less than 0.95",
        "evidence": "[1, 2]",
        "remedy": "raise ef",
        "object": "",
        "scenario": "inner::it",
        "collection": "c",
        "path": "",
    }
    assert verdict["scenarios"][0]["measures"] == [{"name": "recall@10", "value": 0.93, "unit": ""}]
    assert verdict["scenarios"][1]["outcome"] == "pass"
    result.assert_outcomes(failed=1, passed=1)


def test_our_errors_are_told_in_one_sentence_without_a_stack_trace(qualify):
    result, _ = qualify(
        IMPORTS
        + """
def test_it():
    raise CandidateError('probe', 'the probe is answered with 410', remedy='ask /api/v2', evidence='Unhealthy')
"""
    )
    shown = result.stdout.str()
    assert "fail: probe: the probe is answered with 410" in shown
    assert "remedy: ask /api/v2" in shown
    assert "raise CandidateError" not in shown
    assert "Traceback" not in shown


def test_a_bare_assertion_keeps_its_trace(qualify):
    result, verdict = qualify("def test_it():\n    found = 3\n    assert found == 4\n")
    assert "found = 3" not in verdict["findings"][0]["message"]
    result.stdout.fnmatch_lines(["*fail: scenario-failed: assert 3 == 4", ">       assert found == 4"])


def test_the_plan_is_there_before_the_first_scenario_and_the_seed_reaches_it(qualify):
    result, verdict = qualify(
        """
import json
def test_it(run_dir, seed):
    plan = json.loads((run_dir / "plan.json").read_text())
    assert plan["scenarios"] == ["inner::it"]
    assert plan["seed"] == seed == 7
    assert not (run_dir / "verdict.json").exists()
""",
        "--seed=7",
    )
    assert result.ret == 0
    assert verdict["seed"] == 7


def test_the_times_of_what_came_before_are_in_the_verdict(qualify, monkeypatch):
    monkeypatch.setenv("CHROMA_QUALIFY_PARTS", "setup=0.5 images=2")
    _, verdict = qualify("def test_it(): pass")
    assert verdict["parts"] == [{"name": "setup", "seconds": 0.5}, {"name": "images", "seconds": 2.0}]


def test_progress_is_printed_as_it_happens_and_pytest_has_the_last_line(qualify):
    result, _ = qualify("def test_it(): pass")
    result.stdout.re_match_lines(
        [
            r"\[ +\d+\.\d s\] run .*1 scenario.*",
            r"\[ +\d+\.\d s\] inner::it: begins \(1 of 1\)",
            r"\[ +\d+\.\d s\] inner::it: pass after .*",
            r".*verdict: pass.*",
            r"=+ 1 passed in .*",
        ],
        consecutive=False,
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--manifests", "nowhere"), "--manifests nowhere: there is no such directory"),
        (("--baseline", "nowhere"), "--baseline nowhere: there is no such directory"),
        (("--baseline", "."), "--baseline needs --manifests"),
        (("--images", "foo"), "--images foo is none of auto, registry, packages"),
        (("--kubeconfig", "x"), "--kubeconfig cannot be used: a run makes"),
        (("--kind-image", "kindest/node:v1.30.0"), "--kind-image cannot be used: the node image follows"),
        (("--nodes", "abc"), "--nodes abc is not a whole number"),
        (("--nodes", "0"), "--nodes 0 is less than 1"),
        (("--seed", "x"), "--seed x is not a whole number"),
        (("--chroma-version", "latest"), "--chroma-version latest is not a version"),
        (("--use-cluster", "nowhere"), "--use-cluster nowhere: there is no such cluster of ours"),
        (("--use-cluster", "x", "--cluster-name", "y"), "--use-cluster cannot be used with --cluster-name"),
        (("--kind-bin", "nowhere"), "--kind-bin nowhere: there is no such file"),
        (("-k", "nothing_like_it"), "no scenario matches 'nothing_like_it'"),
    ],
)
def test_a_wrong_request_ends_with_2_before_anything_is_made(qualify, args, sentence):
    result, verdict = qualify("def test_it(): open('touched', 'w')", *args)
    assert result.ret == 2
    assert sentence in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert verdict is None
    assert not Path("runs").exists()
    assert not Path("touched").exists()


def test_a_run_directory_is_never_overwritten(qualify):
    Path("old").mkdir()
    Path("old/verdict.json").write_text("{}")
    result, _ = qualify("def test_it(): pass", "--run-dir=old")
    assert result.ret == 2
    assert Path("old/verdict.json").read_text() == "{}"


def test_a_named_run_directory_is_used(qualify):
    result, _ = qualify("def test_it(): pass", "--run-dir=new/one")
    assert result.ret == 0
    assert json.loads(Path("new/one/verdict.json").read_text())["verdict"] == "pass"
    assert not Path("runs").exists()


def test_a_file_that_cannot_be_imported_is_infra(qualify):
    result, verdict = qualify("import no_such_module\ndef test_it(): pass")
    assert result.ret == 4
    assert verdict is None


def test_a_verdict_that_cannot_be_written_is_infra_and_is_still_printed(qualify):
    result, _ = qualify(
        f"{IMPORTS}\ndef test_it(run_dir):\n    import shutil; shutil.rmtree(run_dir); run_dir.touch()\n"
        "    raise CandidateError('lost-index', 'one of 3 is lost')\n"
    )
    assert result.ret == 4
    result.stdout.fnmatch_lines(["*the verdict cannot be written: *", "*lost-index*"])


def test_a_run_directory_that_cannot_be_made_is_infra(qualify):
    Path("runs").touch()
    result, _ = qualify("def test_it(): pass")
    assert result.ret == 4
    assert "the run directory cannot be written" in result.stdout.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_an_interrupted_run_names_what_did_not_run(qualify):
    result, verdict = qualify(
        """
def test_first(): pass
def test_second(): raise KeyboardInterrupt
def test_third(): pass
"""
    )
    assert result.ret == 3
    outcomes = {scenario["name"]: scenario["outcome"] for scenario in verdict["scenarios"]}
    assert outcomes == {"inner::first": "pass", "inner::second": "unknown", "inner::third": "not-run"}


def test_sigterm_cleans_up_as_ctrl_c_does(qualify):
    result, verdict = qualify(
        """
import os, signal, pytest
from pathlib import Path
@pytest.fixture(scope="session")
def cluster_like():
    yield
    Path("deleted").touch()
def test_it(cluster_like): os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    assert result.ret == 3
    assert Path("deleted").exists()
    assert rules(verdict) == [("interrupted", "unknown")]


@pytest.mark.parametrize("autoload", [True, False])
@pytest.mark.parametrize("blocked", [(), ("-p", "no:pytest-kind")])
def test_the_options_of_pytest_kind_are_there_with_and_without_it(qualify, monkeypatch, autoload, blocked):
    if autoload:
        monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    result, _ = qualify(
        "def test_it(run): assert run.options.keep and run.options.cluster_name == 'x'",
        *blocked,
        "--keep-cluster",
        "--cluster-name=x",
    )
    assert result.ret == 0


@pytest.fixture
def manifests(tmp_path) -> Path:
    """A candidate of plain YAML files, for which no kubectl is needed: our own base."""
    base = Path(__file__).parents[2] / "manifests" / "base"
    place = tmp_path / "candidate"
    place.mkdir()
    for name in ("deployment", "service", "pvc", "configmap", "network-policy"):
        (place / f"{name}.yaml").write_text((base / f"{name}.yaml").read_text())
    return place


def with_manifests(directory: Path) -> tuple[str, ...]:
    return (f"--manifests={directory}", "--kind-kubectl-bin=/bin/true")


def test_the_candidate_is_linted_before_anything_starts(qualify, manifests):
    result, verdict = qualify(
        """
import json
def test_it(run_dir):
    plan = json.loads((run_dir / "plan.json").read_text())
    assert plan["digest"] and plan["manifests"].endswith("candidate")
    assert plan["versions"]["chroma"].startswith("chromadb/chroma:")
""",
        *with_manifests(manifests),
    )
    assert result.ret == 0
    assert [(s["name"], s["outcome"]) for s in verdict["scenarios"]] == [("lint", "pass"), ("inner::it", "pass")]


def test_what_the_linter_finds_fails_the_run_which_goes_on(qualify, manifests):
    deployment = manifests / "deployment.yaml"
    deployment.write_text(deployment.read_text().replace("/api/v2/", "/api/v1/"))
    result, verdict = qualify("def test_it(): pass", *with_manifests(manifests))
    assert result.ret == 1
    assert verdict["scenarios"][0]["outcome"] == "fail"
    assert verdict["scenarios"][1]["outcome"] == "pass"
    assert {finding["scenario"] for finding in verdict["findings"]} == {"lint"}
    assert any("410" in finding["message"] + finding["evidence"] for finding in verdict["findings"])


def test_a_waiver_beside_the_manifests_holds_in_a_run_too(qualify, manifests):
    deployment = manifests / "deployment.yaml"
    deployment.write_text(deployment.read_text().replace("/api/v2/", "/api/v1/"))
    (manifests / "lint-waivers.yaml").write_text(
        "- {rule: probe-v1-api, object: Deployment/chromadb, reason: of the test, expires: 9999-12-31}\n"
    )
    _, verdict = qualify("def test_it(): pass", *with_manifests(manifests))
    severities = {f["severity"] for f in verdict["findings"] if f["rule"] == "probe-v1-api"}
    assert severities == {"accepted"}
    assert all("of the test" in f["message"] for f in verdict["findings"] if f["rule"] == "probe-v1-api")


def test_waivers_that_cannot_be_read_are_told_before_anything_is_made(qualify, manifests):
    (manifests / "lint-waivers.yaml").write_text("- {rule: probe-v1-api}\n")
    result, verdict = qualify("def test_it(): pass", *with_manifests(manifests))
    assert (result.ret, verdict) == (2, None)
    assert "waiver 1: object is missing" in result.stdout.str() + result.stderr.str()


def test_a_field_that_does_not_exist_fails_the_run(qualify, manifests):
    deployment = manifests / "deployment.yaml"
    deployment.write_text(deployment.read_text().replace("          resources:", "          resource:"))
    result, verdict = qualify("def test_it(): pass", *with_manifests(manifests))
    assert result.ret == 1
    (found,) = (finding for finding in verdict["findings"] if finding["severity"] == "fail")
    assert found["rule"] == "schema-invalid"
    assert "unknown field spec.template.spec.containers[0].resource" in found["message"]
    assert ("memory-unlimited", "note") in rules(verdict)  # for that is what it is then


def test_a_scenario_without_its_feature_is_told_and_skipped(qualify, manifests):
    result, verdict = qualify(
        "def test_it(candidate): candidate('autoscaling')\ndef test_next(candidate): assert candidate().service",
        *with_manifests(manifests),
    )
    assert result.ret == 0
    assert verdict["scenarios"][1]["reason"] == "the candidate has no HorizontalPodAutoscaler"


def test_a_candidate_that_never_got_ready_is_not_waited_for_again(qualify, manifests):
    result, verdict = qualify(
        """
from chroma_qualify.errors import CandidateError
from chroma_qualify.plugin.hooks import CANDIDATES
def test_first(candidate, request):
    error = CandidateError("not-ready", "the probe is answered with 410")
    request.config.stash[CANDIDATES].not_ready(candidate(), error)
    raise error
def test_second(candidate): candidate()
""",
        *with_manifests(manifests),
    )
    assert result.ret == 1
    assert rules(verdict) == [("not-ready", "fail")]
    assert verdict["scenarios"][2]["reason"] == "the candidate never got ready: the probe is answered with 410"


def test_a_candidate_that_was_ready_once_is_tried_again(qualify, manifests):
    _, verdict = qualify(
        """
from chroma_qualify.errors import CandidateError
from chroma_qualify.plugin.hooks import CANDIDATES
def test_first(candidate, request):
    known = request.config.stash[CANDIDATES]
    known.ready(candidate())
    known.not_ready(candidate(), CandidateError("not-ready", "out of memory"))
def test_second(candidate): candidate()
""",
        *with_manifests(manifests),
    )
    assert [scenario["outcome"] for scenario in verdict["scenarios"]] == ["pass", "pass", "pass"]


def test_an_asked_version_overrules_the_manifests(qualify, manifests):
    _, verdict = qualify("def test_it(): pass", *with_manifests(manifests), "--chroma-version=1.4.0")
    assert verdict["versions"]["chroma"] == "chromadb/chroma:1.4.0"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("kind: [", "deployment.yaml"), ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n", "Chroma")],
)
def test_manifests_that_are_none_end_with_2(qualify, manifests, text, sentence):
    for file in manifests.iterdir():
        file.unlink()
    (manifests / "deployment.yaml").write_text(text)
    result, verdict = qualify("def test_it(): pass", *with_manifests(manifests))
    assert result.ret == 2
    assert sentence in result.stderr.str()
    assert "Traceback" not in result.stderr.str()
    assert verdict is None


def test_collect_only_makes_nothing(qualify):
    result, _ = qualify("def test_it(): pass", "--collect-only")
    assert result.ret == 0
    assert not Path("runs").exists()


def test_a_scenario_can_say_a_table_and_the_verdict_says_when_it_ran(qualify):
    _, verdict = qualify(
        """
import pytest
from chroma_qualify.report.verdict import MatrixCell
def test_it(report):
    report.matrix("who", ["a", "b"], ["x"], [[MatrixCell("open", "closed", "wrong")], [None]])
    with pytest.raises(ValueError): report.matrix("who", ["a", "b"], ["x"], [[None]])
"""
    )
    cell = {"expected": "open", "seen": "closed", "judgement": "wrong"}
    table = {"name": "who", "scenario": "inner::it", "rows": ["a", "b"], "columns": ["x"], "cells": [[cell], [None]]}
    assert verdict["matrices"] == [table]
    (scenario,) = verdict["scenarios"]
    assert 0 <= scenario["began"] <= scenario["began"] + scenario["seconds"] <= verdict["seconds"] + 0.01
    assert f"--seed={verdict['seed']}" in verdict["command"]
