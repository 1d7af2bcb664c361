"""Write what a person or a script reads later: plan.json before the run, verdict.json after it.

Called by the plugin. Files appear whole or not at all (written beside, then renamed), so a killed run leaves
no half verdict.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.secrets import redacted
from chroma_qualify.report.verdict import Matrix, MatrixCell, Measure, Outcome, Part, RunResult, ScenarioResult, Verdict

CANDIDATE_FILE: Final = "objects/candidate.yaml"


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What was asked of a run, known before anything starts.

    Attributes:
        manifests: the candidate's directory, or "" for the topologies that scenarios choose.
        digest: sha256 of the rendered candidate, or "".
        scenarios: their names, in the order in which they run.
        options: the other options as they were understood.
        date: the day of the run, YYYY-MM-DD: accepted risks are held against it.
        experiments: the faults to come, and their traffic, as `checks.plan` reads them.
        promises: what qualification.yaml says; None: there is none.
        started: when the run began, UTC, as ISO 8601 has it.
        origin: the machine's monotonic clock (ns) at the zero of the run's clock: a second lane has the same one.
    """

    run_id: str
    manifests: str
    digest: str
    versions: Mapping[str, str]
    seed: int
    scenarios: tuple[str, ...]
    options: Mapping[str, str | int | bool]
    date: str = ""
    experiments: tuple[Mapping[str, Any], ...] = ()
    promises: Mapping[str, Any] | None = None
    started: str = ""
    origin: int | None = None


def write_plan(plan: Plan, directory: Path) -> Path:
    """Write plan.json into the run directory and return its path."""
    return _write(directory / "plan.json", _finite(dataclasses.asdict(plan)))


def write_candidate(objects: Iterable[Mapping[str, Any]], directory: Path) -> Path:
    """Write the rendered candidate into the run directory, without passwords and tokens, and return its path."""
    path = directory / CANDIDATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(map(redacted, objects), key=_place)
    text = yaml.dump_all(ordered, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1000)
    path.write_text(text, encoding="utf-8")
    return path


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such, so that a difference in one of them is one line."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (yaml's own name of it)
        """Write everything where it is."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _place(item: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = item.get("metadata") or {}
    return str(item.get("kind")), str(meta.get("namespace") or ""), str(meta.get("name"))


def write_verdict(result: RunResult, directory: Path) -> Path:
    """Write verdict.json into the run directory and return its path."""
    return _write(directory / "verdict.json", verdict_document(result))


def verdict_document(result: RunResult) -> dict[str, Any]:
    """What verdict.json holds; its format is schemas/verdict.schema.json."""
    document = dataclasses.asdict(result)
    # The two keys that other tools read come first.
    ordered = {"verdict": document.pop("verdict"), "findings": document.pop("findings"), **document}
    for timed in (*ordered["scenarios"], *ordered["parts"], ordered):
        timed["seconds"] = round(timed["seconds"], 3)
    for scenario in ordered["scenarios"]:
        if scenario["began"] is not None:
            scenario["began"] = round(scenario["began"], 3)
    told: dict[str, Any] = _finite(ordered)
    return told


def read_verdict(directory: Path) -> RunResult:
    """What `write_verdict` wrote into a run directory, also an older one: what it did not know yet is empty.

    Raises:
        OSError: there is none.
        ValueError: it is none.
    """
    document = json.loads((directory / "verdict.json").read_bytes())
    try:
        return RunResult(
            run_id=document["run_id"],
            verdict=Verdict(document["verdict"]),
            findings=tuple(
                Finding(**{**finding, "severity": Severity(finding["severity"])}) for finding in document["findings"]
            ),
            scenarios=tuple(
                ScenarioResult(
                    **{
                        **scenario,
                        "outcome": Outcome(scenario["outcome"]),
                        "measures": tuple(map(_measure, scenario["measures"])),
                    }
                )
                for scenario in document["scenarios"]
            ),
            parts=tuple(Part(**part) for part in document["parts"]),
            versions=document["versions"],
            seed=document["seed"],
            images=document["images"],
            manifests=document["manifests"],
            digest=document["digest"],
            experiments=tuple(document.get("experiments", ())),
            matrices=tuple(_matrix(matrix) for matrix in document.get("matrices", ())),
            command=document.get("command", ""),
            digests=document.get("digests", {}),
            started=document.get("started", ""),
            seconds=document.get("seconds", 0.0),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{directory / 'verdict.json'} is no verdict: {error!r}") from error


def _measure(document: Mapping[str, Any]) -> Measure:
    value = document["value"]
    return Measure(document["name"], math.nan if value is None else value, document.get("unit", ""))


def _matrix(document: Mapping[str, Any]) -> Matrix:
    return Matrix(
        name=document["name"],
        scenario=document["scenario"],
        rows=tuple(document["rows"]),
        columns=tuple(document["columns"]),
        cells=tuple(tuple(None if cell is None else MatrixCell(**cell) for cell in row) for row in document["cells"]),
    )


def _finite(value: Any) -> Any:  # noqa: ANN401 (any value of JSON)
    """The same with null for what JSON has no number for: half a verdict would be worse."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


def _write(path: Path, document: Mapping[str, object]) -> Path:
    beside = path.with_name(path.name + ".part")
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a surrogate pair, which a broken name may hold and UTF-8 may not, becomes its escape.
    beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    beside.replace(path)
    return path
