"""The lint's findings as SARIF 2.1.0, which code scanning takes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chroma_qualify import __version__
from chroma_qualify.findings import Severity
from chroma_qualify.report.lint.told import Lint, Told, relative
from chroma_qualify.report.pages import Page, pages

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVEL = {Severity.FAIL: "error", Severity.UNKNOWN: "warning", Severity.NOTE: "note", Severity.ACCEPTED: "error"}


def as_sarif(lint: Lint) -> str:
    """The log as text."""
    return json.dumps(log(lint), indent=2, ensure_ascii=False) + "\n"


def log(lint: Lint) -> dict[str, Any]:
    """The log: the rules that spoke, with their pages, and one result for each finding."""
    rules = list(dict.fromkeys(each.finding.rule for each in lint.told))
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "chroma-qualify",
                        "semanticVersion": __version__,
                        "rules": [_rule(name, pages().get(name)) for name in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, rules) for each in lint.told],
            }
        ],
    }


def _rule(name: str, page: Page | None) -> dict[str, Any]:
    said = {"id": name, "name": "".join(word.capitalize() for word in name.split("-"))}
    if page is None:
        return said
    plain = f"{page.section('What')}\n\n{page.section('Why')}\n\nRemedy: {page.section('Remedy')}"
    return {
        **said,
        "shortDescription": {"text": page.summary},
        "fullDescription": {"text": page.section("What")},
        "help": {"text": plain, "markdown": page.text},
    }


def _result(told: Told, rules: list[str]) -> dict[str, Any]:
    finding = told.finding
    said = "\n".join(filter(None, (finding.message, finding.evidence and f"Seen: {finding.evidence}", finding.remedy)))
    logical = {"fullyQualifiedName": f"{finding.object}{f':{finding.path}' if finding.path else ''}", "kind": "object"}
    location: dict[str, Any] = {"logicalLocations": [logical]} if finding.object else {}
    if told.file:
        region = {"region": {"startLine": told.line}} if told.line else {}
        location["physicalLocation"] = {"artifactLocation": _artifact(told.file), **region}
    accepted = finding.severity is Severity.ACCEPTED
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVEL[told.waived or finding.severity],
        "message": {"text": said},
        "locations": [location] if location else [],
        # The same finding keeps its number when lines move.
        "partialFingerprints": {
            "finding/v1": _fingerprint(finding.rule, finding.object, finding.path, finding.message)
        },
        **({"suppressions": [{"kind": "external", "justification": finding.message}]} if accepted else {}),
    }


def _artifact(file: str) -> dict[str, str]:
    seen = relative(file)
    if Path(seen).is_absolute():
        return {"uri": Path(seen).as_uri()}
    return {"uri": quote(seen), "uriBaseId": "%SRCROOT%"}


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
