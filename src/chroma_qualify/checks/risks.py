"""Weigh findings by what a topology promises: a failure, or a risk that its owner knows and takes.

A defect of Chroma itself then reads "known upstream, mitigated by X, proven by Y", and never just disappears.
Called by `checks.run`. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from chroma_qualify.checks.plan import Experiment, RunPlan
from chroma_qualify.checks.promises import FILE, Risk, Setting
from chroma_qualify.findings import Finding, Severity


def accept(findings: Sequence[Finding], plan: RunPlan, experiment: Experiment, *, proven: bool = True) -> list[Finding]:
    """The findings of one experiment; those that an accepted risk covers become `accepted`.

    Args:
        findings: as the rules give them.
        plan: has the promises, and the day on which the run took place.
        experiment: whose findings they are.
        proven: did its fault take effect, so that it can prove a mitigation?
    """
    unclean = {experiment.setting_of(each.collection) for each in findings}  # undecided is not clean, either
    clean = {collection.setting for collection in experiment.collections} - unclean if proven else set()
    weighed = []
    for finding in findings:
        setting = experiment.setting_of(finding.collection)
        if finding.severity is not Severity.FAIL:
            weighed.append(finding)
            continue
        risk = next((r for r in plan.promises.risks if r.covers(finding.rule, experiment.fault, setting)), None)
        if setting is not None and plan.promises.includes(experiment.stress, setting):
            risk = None  # what is promised cannot be accepted as a risk
        if risk is None:
            weighed.append(_unaccepted(finding, plan, experiment, setting))
        elif _over(risk, plan):
            text = f"{finding.message}; the risk was accepted until {risk.expires.isoformat()}"
            weighed.append(dataclasses.replace(finding, message=text))
        else:
            weighed.append(_accepted(finding, risk, clean))
    return weighed


def risks_left(plan: RunPlan, met: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """Accepted risks that expired, or that no run of their fault met although every one should.

    Args:
        plan: of the run.
        met: the accepted findings of each experiment whose fault was proven, by its name.
    """
    findings = []
    for risk in plan.promises.risks:
        if _over(risk, plan):
            text = f"the accepted risk {risk} expired on {risk.expires.isoformat()}"
            remedy = f"look whether it is still there, and renew it in {FILE} or take it out"
            findings.append(Finding("risk-expired", Severity.FAIL, text, risk.reason, remedy))
            continue
        tried = [
            each
            for each in plan.experiments
            if each.name in met
            and each.fault == risk.fault
            and (risk.setting is None or any(c.setting is risk.setting for c in each.collections))
        ]
        seen = any(finding.rule in risk.rules for each in tried for finding in met[each.name])
        if risk.certain and tried and not seen:
            text = f"the accepted risk {risk} was not met, although every run should meet it"
            remedy = f"if Chroma no longer has the defect, take it out of {FILE}; else the fault was too weak"
            where = ", ".join(each.name for each in tried)
            findings.append(Finding("risk-not-met", Severity.UNKNOWN, text, f"tried by {where}", remedy))
    return findings


def _over(risk: Risk, plan: RunPlan) -> bool:
    return plan.date is not None and plan.date > risk.expires


def _accepted(finding: Finding, risk: Risk, clean: set[Setting]) -> Finding:
    proof = ""
    if risk.mitigated_by is not None:
        held = risk.mitigated_by in clean
        what = f"collections with sync_threshold {risk.mitigated_by.value} under the same fault"
        proof = f", proven by {what} in this run" if held else f", not proven in this run: {what} had findings, too"
    text = f"{finding.message}; known upstream ({risk.upstream}), mitigated by {risk.mitigation}{proof}"
    remedy = f"{risk.mitigation}; the risk is accepted until {risk.expires.isoformat()}: {risk.reason}"
    return dataclasses.replace(finding, severity=Severity.ACCEPTED, message=text, remedy=remedy)


def _unaccepted(finding: Finding, plan: RunPlan, experiment: Experiment, setting: Setting | None) -> Finding:
    """Say on which ground it fails."""
    if setting is None:
        return finding
    if not plan.promises.stated:
        ground = f"without a {FILE} the strictest promises hold"
    elif plan.promises.includes(experiment.stress, setting):
        ground = f"promised: to survive {experiment.stress.value} with sync_threshold {setting.value}"
    else:
        ground = f"not promised, but no accepted risk in {FILE} either"
    return dataclasses.replace(finding, evidence=f"{finding.evidence} [{ground}]".strip())
