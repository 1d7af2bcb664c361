"""A plan for a person: what a run would do, and how long it would take. Pure; called by the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Of what needs our own nodes, in the words of docs/how-to/existing-cluster.md.
_FROM_THE_NODE = "done from the node, which is not ours to enter"
_VOLUME, _OTHERS = "needs a volume of our making", "others live there"
_SHARED = ("node-pause", "node-restart", "node-drain", "node-loss", "dns-down", "api-server-down")
_NOT_OURS = {"power-loss": _VOLUME, "volume-full": _VOLUME, **dict.fromkeys(_SHARED, _OTHERS)}


def plan_text(plan: Mapping[str, Any]) -> str:
    """Lines of text.

    Args:
        plan: with `manifests`, `baseline`, `seed`, `time_limit` in seconds, `nodes`, `promises` and `experiments` as
            plan.json has them; `existing`: is the cluster somebody's, who only lends it? `scenarios`: the others by
            `name` and `lane`, or None if they are not known here.
    """
    lines = [
        f"candidate  {plan['manifests']}",
        *([f"baseline   {plan['baseline']}, from which it is promoted under writes"] if plan["baseline"] else []),
        f"seed       {plan['seed']} (data, traffic and the moments of the faults follow from it)",
        *_promises(plan["promises"]),
        *([f"limit      {plan['time_limit']:g} s, then no scenario begins"] if plan["time_limit"] else []),
        *_experiments(plan),
        *_scenarios(plan["scenarios"]),
    ]
    return "\n".join(lines)


def _experiments(plan: Mapping[str, Any]) -> list[str]:
    if not plan["experiments"]:
        return ["", "No fault is made."]
    lines = ["", f"{'experiment':<20} {'asks for':<13} {'lasts':>7} {'about':>6}  traffic meanwhile"]
    total = 0
    for each in plan["experiments"]:
        missing = _missing(each, plan)
        about = "not run" if missing else f"{each['expected_seconds']} s"
        total += 0 if missing else each["expected_seconds"]
        hold = f"{each['hold_seconds']:g} s" if each["hold_seconds"] else "-"
        traffic = missing or ", ".join(map(_traffic, each["collections"]))
        lines.append(f"{each['name']:<20} {each['stress']:<13} {hold:>7} {about:>6}  {traffic}")
    return [
        *lines,
        "",
        "Each: traffic until every collection has its operations (before), the fault, its proof, its end and the proof",
        "of that (during), traffic again (after); then everything is read in every way there is (final).",
        f"All of it takes about {total // 60} min {total % 60:02} s, beside the cluster and the other scenarios.",
    ]


def _missing(experiment: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Why an experiment would not be run, or ""."""
    if plan["existing"] and experiment["own_nodes"]:
        return f"unavailable: {_NOT_OURS.get(experiment['fault'], _FROM_THE_NODE)}"
    return f"needs {experiment['nodes']} nodes" if experiment["nodes"] > plan["nodes"] else ""


def _scenarios(scenarios: Sequence[Mapping[str, Any]] | None) -> list[str]:
    if scenarios is None:
        return ["", "Which other scenarios there are is known in a checkout of chroma-qualify only."]
    if not scenarios:
        return ["", "No other scenario runs."]
    told = [f"  {each['name']}{' (second lane, beside the others)' if each['lane'] == 2 else ''}" for each in scenarios]
    head = f"Other scenarios: {len(scenarios)}. What needs more than candidate and cluster have is not-run then."
    return ["", head, *told]


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
