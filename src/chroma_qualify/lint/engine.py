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
from chroma_qualify.lint.rules.autoscaling import hpa_bounds, hpa_target_missing, hpa_without_request
from chroma_qualify.lint.rules.configuration import (
    allow_reset,
    circuit_breaker,
    config_invalid,
    cors_any,
    secret_in_config,
    service_links,
)
from chroma_qualify.lint.rules.data import claim_access, claim_deleted, data_not_on_volume, replicas_apart
from chroma_qualify.lint.rules.disruption import pdb_blocks_drain, pdb_missing
from chroma_qualify.lint.rules.exposure import exposed
from chroma_qualify.lint.rules.guard import guard_of_another_image
from chroma_qualify.lint.rules.hardening import (
    fs_group_missing,
    holds_capabilities,
    host_namespaces,
    new_privileges,
    no_seccomp,
    privileged,
    root_writable,
    runs_as_root,
    service_account_token,
)
from chroma_qualify.lint.rules.images import mutable_image, old_chroma
from chroma_qualify.lint.rules.listening import headless_service, loopback_only, probe_wrong_port, wrong_target_port
from chroma_qualify.lint.rules.memory import memory_below_floor, memory_too_small, memory_unlimited
from chroma_qualify.lint.rules.patience import (
    grace_too_short,
    liveness_eager,
    liveness_on_data,
    no_liveness_probe,
    no_readiness_probe,
    probe_timeout,
)
from chroma_qualify.lint.rules.policies import (
    policy_egress_blocked,
    policy_ingress_open,
    policy_matches_nothing,
    policy_missing,
    policy_namespace_label,
    policy_no_monitoring,
    policy_types,
)
from chroma_qualify.lint.rules.probes import probe_v1_api
from chroma_qualify.lint.rules.scraping import scrape_not_metrics
from chroma_qualify.lint.rules.selectors import (
    monitor_matches_nothing,
    selector_matches_nothing,
    selector_mismatch,
    selector_too_wide,
)
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
    "hpa-target-missing": hpa_target_missing,
    "hpa-bounds": hpa_bounds,
    "data-not-on-volume": data_not_on_volume,
    "replicas-apart": replicas_apart,
    "claim-deleted": claim_deleted,
    "claim-access": claim_access,
    "fs-group-missing": fs_group_missing,
    "service-links": service_links,
    "config-invalid": config_invalid,
    "allow-reset": allow_reset,
    "circuit-breaker": circuit_breaker,
    "cors-any": cors_any,
    "secret-in-config": secret_in_config,
    "loopback-only": loopback_only,
    "wrong-target-port": wrong_target_port,
    "probe-wrong-port": probe_wrong_port,
    "headless-service": headless_service,
    "probe-timeout": probe_timeout,
    "liveness-eager": liveness_eager,
    "liveness-on-data": liveness_on_data,
    "no-readiness-probe": no_readiness_probe,
    "no-liveness-probe": no_liveness_probe,
    "grace-too-short": grace_too_short,
    "memory-unlimited": memory_unlimited,
    "mutable-image": mutable_image,
    "old-chroma": old_chroma,
    "exposed": exposed,
    "policy-missing": policy_missing,
    "policy-ingress-open": policy_ingress_open,
    "policy-egress-blocked": policy_egress_blocked,
    "policy-matches-nothing": policy_matches_nothing,
    "policy-types": policy_types,
    "policy-namespace-label": policy_namespace_label,
    "policy-no-monitoring": policy_no_monitoring,
    "selector-mismatch": selector_mismatch,
    "selector-too-wide": selector_too_wide,
    "selector-matches-nothing": selector_matches_nothing,
    "monitor-matches-nothing": monitor_matches_nothing,
    "runs-as-root": runs_as_root,
    "privileged": privileged,
    "host-namespaces": host_namespaces,
    "root-writable": root_writable,
    "holds-capabilities": holds_capabilities,
    "new-privileges": new_privileges,
    "no-seccomp": no_seccomp,
    "service-account-token": service_account_token,
    "pdb-missing": pdb_missing,
}

SETTINGS_RULES: Mapping[str, SettingsRule] = {
    "memory-too-small": memory_too_small,
    "memory-below-floor": memory_below_floor,
}
NOTHING_TO_JUDGE = "no-chroma-workload"
SIZED = frozenset({"memory-too-small"})  # says nothing where nobody says how many vectors there are to be


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
