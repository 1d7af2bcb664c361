"""The policy scanner's output, and the exceptions from it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from chroma_qualify.deployment.scan import EXCEPTIONS, Exemption, Issue, issues_of, judge, load_exceptions, scan
from chroma_qualify.errors import InfraError, UsageError

SHIPPED = Path(__file__).parents[3] / "manifests" / EXCEPTIONS


def scored(kind, name, *checks):
    """As kube-score prints an object: (check, grade, comments)."""
    return {
        "object_name": f"{kind}/v1/space/{name}",
        "type_meta": {"kind": kind, "apiVersion": "v1"},
        "object_meta": {"name": name},
        "checks": [
            {
                "check": {"name": check.title(), "id": check},
                "grade": grade,
                "skipped": grade == 0,
                "comments": comments and [{"path": p, "summary": s, "description": "d"} for p, s in comments],
            }
            for check, grade, comments in checks
        ],
    }


PRINTED = json.dumps(
    [
        scored("Service", "s", ("service-type", 10, None), ("stable-version", 0, [("", "skipped")])),
        scored("Deployment", "d", ("tag", 1, [("db", "latest"), ("", "no tag")]), ("spread", 5, None)),
    ]
)
TAG, SPREAD = Issue("tag", "Deployment/d", "db: latest; no tag"), Issue("spread", "Deployment/d", "Spread")


def test_what_did_not_pass_is_an_issue():
    assert issues_of(PRINTED) == [SPREAD, TAG]


@pytest.mark.parametrize("printed", ["", "Failed to score files", "null", "{}", "[1]", '[{"checks": []}]'])
def test_other_output_is_the_scanner_s_failure(printed):
    if printed == "{}":
        assert issues_of(printed) == []  # nothing to score
        return
    with pytest.raises(InfraError, match="kube-score did not print"):
        issues_of(printed, "it broke")


def test_a_scanner_that_prints_nonsense(tmp_path):
    program = tmp_path / "kube-score"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(InfraError, match="broken"):
        scan([{"kind": "Service"}], program)


def test_a_scanner_reads_the_objects_from_its_input(tmp_path):
    program = tmp_path / "kube-score"
    program.write_text(f"#!/bin/sh\ngrep -q 'kind: Thing' && echo '{PRINTED}'\nexit 1\n")
    program.chmod(0o755)
    assert scan([{"kind": "Thing"}], program) == [SPREAD, TAG]


def test_what_is_excused_and_what_is_not():
    excused = [Exemption("spread", "Deployment/d", "one server")]
    (left,) = judge({"dev": [SPREAD, TAG]}, excused)
    assert (left.rule, left.object) == ("scan-finding", "Deployment/d")
    assert "of dev fails the check tag: db: latest" in left.message
    assert judge({"dev": [SPREAD], "staging": []}, excused) == []


def test_an_exception_that_nothing_needs_is_a_finding():
    excused = [Exemption("spread", "Deployment/d", "one server"), Exemption("spread", "Deployment/e", "gone")]
    (left,) = judge({"dev": [SPREAD], "staging": []}, excused)
    assert (left.rule, left.object, left.evidence) == ("scan-exception-unneeded", "Deployment/e", "gone")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "must hold a list"),
        ({"exceptions": {}}, "must hold a list"),
        ({"exceptions": [{"check": "a", "objects": ["A/b"]}]}, "must have check, objects and reason"),
        ({"exceptions": [{"check": "a", "objects": [], "reason": "r"}]}, "list of Kind/name"),
        ({"exceptions": [{"check": "a", "objects": ["b"], "reason": "r"}]}, "list of Kind/name"),
        ({"exceptions": [{"check": "a", "objects": ["A/b"], "reason": " "}]}, "reason must be words"),
        ({"exceptions": [{"check": 1, "objects": ["A/b"], "reason": "r"}]}, "check must be words"),
    ],
)
def test_a_wrong_file_of_exceptions(document, words, tmp_path):
    (tmp_path / EXCEPTIONS).write_text(yaml.safe_dump(document))
    with pytest.raises(UsageError, match=re.escape(words)):
        load_exceptions(tmp_path / EXCEPTIONS)


def test_a_file_that_is_not_there_or_no_yaml(tmp_path):
    for text in (None, "a: [", "\0"):
        if text is not None:
            (tmp_path / EXCEPTIONS).write_text(text)
        with pytest.raises(UsageError, match="cannot be read"):
            load_exceptions(tmp_path / EXCEPTIONS)


def test_the_shipped_exceptions_say_why_and_no_pair_twice():
    exceptions = load_exceptions(SHIPPED)
    pairs = [(one.check, one.object) for one in exceptions]
    assert len(pairs) == len(set(pairs))
    assert all(len(one.reason) > 30 for one in exceptions)
