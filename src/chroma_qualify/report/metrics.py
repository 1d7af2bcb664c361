"""metrics.prom: a run as OpenMetrics text, for dashboards of many runs. Called by the plugin.

Everything is a gauge: a run is one observation, and nothing is counted on from run to run. The text is OpenMetrics 1.0
and Prometheus' own format at once (no `info`, no `stateset`, no time stamps), so that the textfile collector of the
node exporter reads it, too. What was run is in the labels of `chroma_qualify_run_info` alone: join with it.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from chroma_qualify.findings import Severity
from chroma_qualify.report.shapes import Traffic
from chroma_qualify.report.verdict import Outcome, RunResult, Verdict

_PREFIX = "chroma_qualify"
_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name: labels and value."""

    name: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]
    unit: str = ""


def write_metrics(result: RunResult, traffic: Sequence[Traffic], directory: Path) -> Path:
    """Write metrics.prom into the run directory and return its path.

    Args:
        result: of the run.
        traffic: its operations, see `series`.
        directory: of the run.
    """
    path = directory / "metrics.prom"
    beside = path.with_name(path.name + ".part")
    beside.write_text(metrics_text(result, traffic), encoding="utf-8", errors="backslashreplace")
    beside.replace(path)
    return path


def metrics_text(result: RunResult, traffic: Sequence[Traffic]) -> str:
    """The text, which ends with `# EOF`."""
    lines: list[str] = []
    for family in (*_of_result(result), *_of_traffic(traffic)):
        if not family.samples:
            continue
        name = f"{_PREFIX}_{family.name}"
        lines.append(f"# TYPE {name} gauge")
        if family.unit:
            lines.append(f"# UNIT {name} {family.unit}")
        lines.append(f"# HELP {name} {_escaped(family.help)}")
        lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _of_result(result: RunResult) -> Iterator[Family]:
    about = {
        "run": result.run_id,
        "manifests": result.manifests,
        "digest": result.digest,
        "images": result.images,
        "seed": str(result.seed),
        **{f"version_{_label(name)}": version for name, version in result.versions.items()},
    }
    yield Family("run_info", "What was run.", [(about, 1)])
    states = [({"verdict": each.value}, float(each is result.verdict)) for each in Verdict]
    yield Family("verdict", "The verdict of the run: 1 at the one that it is.", states)
    if result.started:
        began = datetime.datetime.fromisoformat(result.started).timestamp()
        yield Family("started_seconds", "When the run began, since the epoch.", [({}, began)], "seconds")
    yield Family("duration_seconds", "How long the run took.", [({}, result.seconds)], "seconds")
    counted = collections.Counter((each.rule, each.severity) for each in result.findings)
    severities = [({"severity": each.value}, _total(counted, each)) for each in Severity]
    yield Family("findings", "Findings by severity.", severities)
    rules = [({"rule": rule, "severity": severity.value}, float(n)) for (rule, severity), n in counted.items()]
    yield Family("rule_findings", "Findings by rule.", sorted(rules, key=lambda each: sorted(each[0].items())))
    yield Family(
        "scenario_seconds",
        "How long each scenario took.",
        _unique(
            ({"scenario": each.name}, each.seconds) for each in result.scenarios if each.outcome is not Outcome.NOT_RUN
        ),
        "seconds",
    )
    outcomes = (
        ({"scenario": each.name, "outcome": state.value}, float(each.outcome is state))
        for each in result.scenarios
        for state in Outcome
    )
    yield Family("scenario_outcome", "How each scenario ended: 1 at its outcome.", _unique(outcomes))
    measures = (
        ({"scenario": each.name, "name": measure.name, "unit": measure.unit}, measure.value)
        for each in result.scenarios
        for measure in each.measures
    )
    yield Family("measure", "What scenarios measured, in the unit of the label.", _unique(measures))
    parts = (({"part": part.name}, part.seconds) for part in result.parts)
    yield Family("part_seconds", "Parts of the run that are no scenario.", _unique(parts), "seconds")
    yield from _of_outages(result)


def _of_outages(result: RunResult) -> Iterator[Family]:
    helps = {"unavailable": "Longest time without an acknowledged operation, by fault.",
             "recovered": "From the fault to the first acknowledged operation after it."}  # fmt: skip
    for field, text in helps.items():
        samples = []
        for each in result.experiments:
            outage = each.get("outage")
            if isinstance(outage, Mapping) and isinstance(value := outage.get(field), int | float):
                samples.append(({"experiment": str(each["experiment"])}, float(value)))
        yield Family(f"fault_{field}_seconds", text, _unique(samples), "seconds")


def _of_traffic(traffic: Sequence[Traffic]) -> Iterator[Family]:
    operations = [
        ({"lane": lane.lane or "run", "operation": operation, "outcome": kind}, float(number))
        for lane in traffic
        for operation, kinds in lane.operations.items()
        for kind, number in kinds.items()
    ]
    yield Family("operations", "Operations that were recorded, by how they ended.", operations)
    latency = [
        ({"lane": lane.lane or "run", "operation": operation, "quantile": quantile}, round(figures[name] / 1000, 9))
        for lane in traffic
        for operation, figures in lane.latency.items()
        for name, quantile in _QUANTILES.items()
    ]
    text = "Latency of acknowledged operations."
    yield Family("operation_latency_seconds", text, latency, "seconds")


def _total(counted: Mapping[tuple[str, Severity], int], severity: Severity) -> float:
    return float(sum(number for (_, each), number in counted.items() if each is severity))


def _unique(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[tuple[Mapping[str, str], float]]:
    """The last one of each set of labels: two samples alike would make the whole file unreadable."""
    found = {tuple(sorted(labels.items())): (labels, value) for labels, value in samples}
    return list(found.values())


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _label(name: str) -> str:
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text.replace("\r", " ")).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else repr(float(value))
