"""A plan for a person: what a run would do, and how long it would take. Pure; called by the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plan_text(plan: Mapping[str, Any]) -> str:
    """Lines of text.

    Args:
        plan: with `manifests`, `seed`, `nodes`, `existing` (is the cluster somebody's, who only lends it?), `promises`
            and `experiments` as plan.json has them.
    """
    lines = [
        f"candidate  {plan['manifests']}",
        f"seed       {plan['seed']} (data, traffic and the moments of the faults follow from it)",
        *_promises(plan["promises"]),
        "",
        f"{'experiment':<20} {'asks for':<13} {'lasts':>7} {'about':>6}  traffic meanwhile",
    ]
    total = 0
    for each in plan["experiments"]:
        missing = _missing(each, plan)
        about = "not run" if missing else f"{each['expected_seconds']} s"
        total += 0 if missing else each["expected_seconds"]
        hold = f"{each['hold_seconds']:g} s" if each["hold_seconds"] else "-"
        traffic = missing or ", ".join(map(_traffic, each["collections"]))
        lines.append(f"{each['name']:<20} {each['stress']:<13} {hold:>7} {about:>6}  {traffic}")
    lines += [
        "",
        "Each: traffic until every collection has its operations (before), the fault, its proof, its end and the proof",
        "of that (during), traffic again (after); then everything is read in every way there is (final).",
        f"All of it takes about {total // 60} min {total % 60:02} s, beside the cluster and the other scenarios.",
    ]
    return "\n".join(lines)


def _missing(experiment: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Why an experiment would not be run, or ""."""
    if plan["existing"] and experiment["own_nodes"]:
        return "unavailable: the nodes of an existing cluster cannot be entered"
    return f"needs {experiment['nodes']} nodes" if experiment["nodes"] > plan["nodes"] else ""


def _promises(promises: Mapping[str, Any] | None) -> list[str]:
    if promises is None:
        return ["promises   no qualification.yaml: the strictest ones hold"]
    kept = ", ".join(f"{stress} with sync_threshold {setting}" for setting, stress in promises["durability"].items())
    risks = [
        f"risk       {', '.join(risk['rule'])} under {risk['fault']}, accepted until {risk['expires']}"
        for risk in promises["accepted_risks"]
    ]
    return [f"promises   to survive {kept}", *risks]


def _traffic(collection: Mapping[str, Any]) -> str:
    workload = collection["workload"]
    return f"{workload['kind']} {workload['rate']:g}/s (sync_threshold {collection['setting']})"
