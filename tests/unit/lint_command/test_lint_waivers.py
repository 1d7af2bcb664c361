"""Waivers: what they cover is accepted, what is over or unused is found, what is wrong is refused."""

from __future__ import annotations

import datetime
import json

import pytest

LOST = "two-servers-one-volume"
AHEAD = (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=400)).isoformat()
WAIVER = f"- {{rule: {LOST}, object: Deployment/vectors, reason: It is only read from., expires: {AHEAD}}}\n"


@pytest.fixture
def found(lint, manifests):
    """Lint with waivers beside the manifests; returns the exit code, and (rule, severity) to the findings."""

    def run(text: str, *args: object) -> tuple[int, dict[tuple[str, str], dict[str, str]]]:
        (manifests / "lint-waivers.yaml").write_text(text)
        code, out, err = lint(manifests, "--format", "json", *args)
        assert err == ""
        return code, {(each["rule"], each["severity"]): each for each in json.loads(out)["findings"]}

    return run


def others_fail(findings) -> bool:
    return any(severity == "fail" for _, severity in findings)


def test_what_is_waived_is_shown_with_its_reason_and_fails_nothing(found):
    code, findings = found(WAIVER)
    waived = findings[(LOST, "accepted")]
    assert f"Waived until {AHEAD}: It is only read from." in waived["message"]
    assert (LOST, "fail") not in findings
    assert (code == 1) == others_fail(findings)


@pytest.mark.parametrize(
    ("path", "covers"),
    [("spec", True), ("spec.replicas", True), ("spec.replica", False), ("spec.template", False)],
)
def test_a_waiver_for_a_place(found, path, covers):
    _, findings = found("")
    at = findings[(LOST, "fail")]["path"]
    if not at:
        pytest.skip("the rule says no path")
    _, findings = found(WAIVER.replace("reason", f"path: {path}, reason"))
    assert ((LOST, "accepted") in findings) == covers
    assert (("waiver-unused", "fail") in findings) != covers


def test_a_waiver_that_is_over_is_found_and_its_finding_counts_again(found):
    code, findings = found(WAIVER.replace(AHEAD, "2020-02-29"))
    assert code == 1
    assert "waived until 2020-02-29" in findings[(LOST, "fail")]["message"]
    over = findings[("waiver-expired", "fail")]
    assert over["object"] == "Deployment/vectors"
    assert over["file"].endswith("lint-waivers.yaml")
    assert over["line"] == 1


def test_a_finding_of_a_waiver_is_at_its_line(found):
    text = f"# taken\n{WAIVER}\n{WAIVER.replace('Deployment/vectors', 'Deployment/gone')}"
    assert found(text)[1][("waiver-unused", "fail")]["line"] == 4


def test_what_is_waived_keeps_its_level_in_sarif(lint, manifests):
    noted = WAIVER.replace(LOST, "policy-missing")
    (manifests / "lint-waivers.yaml").write_text(WAIVER + noted)
    results = json.loads(lint(manifests, "--format", "sarif")[1])["runs"][0]["results"]
    taken = {each["ruleId"]: each["level"] for each in results if "suppressions" in each}
    assert taken == {LOST: "error", "policy-missing": "note"}


def test_a_waiver_that_covers_nothing_is_found(found):
    code, findings = found(WAIVER + WAIVER.replace("Deployment/vectors", "Deployment/gone"))
    assert code == 1
    assert findings[("waiver-unused", "fail")]["object"] == "Deployment/gone"
    assert (LOST, "accepted") in findings


def test_what_was_not_judged_is_not_waived_in_vain(lint, manifests, tmp_path):
    (tmp_path / "w.yaml").write_text(WAIVER)
    (manifests / "all.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    code, out, _ = lint(manifests, "--waivers", tmp_path / "w.yaml", "--format", "json")
    assert code == 3
    assert [each["rule"] for each in json.loads(out)["findings"]] == ["no-chroma-workload"]


def test_waivers_of_another_file(lint, manifests, tmp_path):
    (manifests / "lint-waivers.yaml").write_text("[]\n")
    (tmp_path / "w.yaml").write_text(WAIVER)
    _, out, _ = lint(manifests, "--waivers", tmp_path / "w.yaml", "--format", "json")
    assert (LOST, "accepted") in {(each["rule"], each["severity"]) for each in json.loads(out)["findings"]}
    assert lint(manifests, "--waivers", tmp_path / "none.yaml")[0] == 2


def test_a_waiver_does_not_accept_what_is_unknown(lint, tmp_path):
    (tmp_path / "w.yaml").write_text(WAIVER.replace(LOST, "no-chroma-workload"))
    code, _, err = lint(
        "-", "--waivers", tmp_path / "w.yaml", stdin=b"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
    )
    assert code == 2
    assert "there is no rule no-chroma-workload" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule: x\n", "must be a list"),
        ("- x\n", "waiver 1 must be an object"),
        (WAIVER.replace(LOST, "two-servers"), "there is no rule two-servers"),
        (WAIVER.replace("reason", "why"), "unknown field why"),
        (WAIVER.replace("It is only read from.", "' '"), "reason is missing"),
        (WAIVER.replace(AHEAD, "soon"), "expires is no date"),
        (WAIVER.replace(AHEAD, "2027-02-30"), "expires is no date"),
        (WAIVER.replace("Deployment/vectors", "vectors"), "must be Kind/name"),
        (WAIVER.replace("reason", "path: [1], reason"), "path must be words"),
        (WAIVER + "- {}\n", "waiver 2: rule is missing"),
        ("[" * 10_000, "nested deeper"),
        ("a: [\n", "broken YAML"),
        ("---\n[]\n---\n[]\n", "2 YAML documents"),
    ],
)
def test_a_file_that_is_not_of_the_format(lint, manifests, text, said):
    (manifests / "lint-waivers.yaml").write_text(text)
    code, out, err = lint(manifests)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert "lint-waivers.yaml" in err


def test_an_empty_file_waives_nothing(found):
    assert (LOST, "fail") in found("# none\n")[1]
