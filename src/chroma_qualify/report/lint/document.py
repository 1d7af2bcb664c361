"""The lint's findings as JSON; the format is schemas/lint.schema.json."""

from __future__ import annotations

import json
from typing import Any

from chroma_qualify.report.lint.told import Lint, Told
from chroma_qualify.report.pages import where


def document(lint: Lint) -> dict[str, Any]:
    """What is printed."""
    return {
        "findings": [_finding(each) for each in lint.told],
        "verdict": lint.verdict.value,
        "manifests": lint.what,
        "objects": lint.objects,
        "without_schema": list(lint.without_schema),
        "kubernetes": lint.kubernetes,
    }


def as_json(lint: Lint) -> str:
    """The document as text."""
    return json.dumps(document(lint), indent=2, ensure_ascii=False) + "\n"


def _finding(told: Told) -> dict[str, Any]:
    finding = told.finding
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "object": finding.object,
        "path": finding.path,
        "message": finding.message,
        "remedy": finding.remedy,
        "evidence": finding.evidence,
        "page": where(finding.rule),
        "file": told.file or None,
        "line": told.line or None,
    }
