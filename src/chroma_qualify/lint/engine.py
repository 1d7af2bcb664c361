"""The registry of rules, and the one function that runs them all.

A rule is a plain function from the objects of a candidate to findings; to add one, write it, list it here, and describe
it in docs/rules. One that must know more than the objects takes `Settings` as its second argument, and is listed in
`SETTINGS_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, chroma_workloads, flatten
from chroma_qualify.lint.rules.autoscaling import hpa_without_request
from chroma_qualify.lint.rules.disruption import pdb_blocks_drain
from chroma_qualify.lint.rules.guard import guard_of_another_image
from chroma_qualify.lint.rules.probes import probe_v1_api
from chroma_qualify.lint.rules.scraping import scrape_not_metrics
from chroma_qualify.lint.rules.services import unreachable
from chroma_qualify.lint.rules.settings import ignored_setting
from chroma_qualify.lint.rules.tmp import no_writable_tmp
from chroma_qualify.lint.rules.volumes import two_servers_one_volume
from chroma_qualify.lint.schema import RULE as SCHEMA_RULE
from chroma_qualify.lint.settings import DEFAULTS, Settings
from chroma_qualify.lint.waivers import EXPIRED, UNUSED

Rule: TypeAlias = Callable[[Sequence[KubeObject]], Iterable[Finding]]
SettingsRule: TypeAlias = Callable[[Sequence[KubeObject], Settings], Iterable[Finding]]

# Rule names are the interface of verdict.json: never rename one.
RULES: Mapping[str, Rule] = {
    "probe-v1-api": probe_v1_api,
    "scrape-not-metrics": scrape_not_metrics,
    "two-servers-one-volume": two_servers_one_volume,
    "hpa-without-request": hpa_without_request,
    "no-writable-tmp": no_writable_tmp,
    "ignored-setting": ignored_setting,
    "pdb-blocks-drain": pdb_blocks_drain,
    "guard-of-another-image": guard_of_another_image,
    "unreachable": unreachable,
}

SETTINGS_RULES: Mapping[str, SettingsRule] = {}
NOTHING_TO_JUDGE = "no-chroma-workload"


def rule_names() -> list[str]:
    """Every rule that can be waived, in the order in which they are told."""
    return [*RULES, *SETTINGS_RULES, SCHEMA_RULE]


def all_rules() -> list[str]:
    """Every rule name that a lint can say."""
    return [*rule_names(), NOTHING_TO_JUDGE, EXPIRED, UNUSED]


def lint_objects(objects: Sequence[Mapping[str, Any]], settings: Settings = DEFAULTS) -> list[Finding]:
    """Run every rule on the rendered objects of one candidate.

    Args:
        objects: parsed Kubernetes objects, any kinds, in any order; a `List` is opened, what is not an object is left
            out.
        settings: what to judge them for.

    Returns:
        The findings, in the order of `RULES` and `SETTINGS_RULES`, each once. Without a Chroma server among the objects
        a single finding of severity `unknown`, for then nothing was judged.
    """
    flat = flatten(objects)
    if not chroma_workloads(flat):
        return [
            Finding(
                rule=NOTHING_TO_JUDGE,
                severity=Severity.UNKNOWN,
                message="None of the objects runs a Chroma server, so no rule could judge them.",
                evidence=f"{len(flat)} objects: {', '.join(sorted({str(o.get('kind')) for o in flat})) or 'none'}",
                remedy="Give the directory whose Deployment or StatefulSet runs Chroma "
                "(image named chroma or chromadb, or a command `chroma run`).",
            )
        ]
    found = [finding for rule in RULES.values() for finding in rule(flat)]
    found += [finding for rule in SETTINGS_RULES.values() for finding in rule(flat, settings)]
    return list(dict.fromkeys(found))
