"""Every alert leads to what it means and what to do; every part of the dashboard names its namespace."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COMPONENT = ROOT / "manifests" / "components" / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
CHAPTERS = dict(
    re.findall(
        r"^### (\w+)\n(.*?)(?=^##|\Z)", (ROOT / "docs/how-to/monitoring.md").read_text(), re.MULTILINE | re.DOTALL
    )
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule):
    assert rule["annotations"]["runbook"] == f"docs/how-to/monitoring.md#{rule['alert'].lower()}"
    assert len(CHAPTERS[rule["alert"]]) > 200
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_no_chapter_is_about_an_alert_that_is_gone():
    assert CHAPTERS.keys() == {rule["alert"] for rule in RULES}


def test_the_dashboard_shows_one_namespace():
    board = json.loads((COMPONENT / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 20
    assert [one for one in expressions if 'namespace="$namespace"' not in one] == []
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
