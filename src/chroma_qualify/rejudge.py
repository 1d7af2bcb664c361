"""Judge the files of a run directory again, without a cluster; the same files give the same words.

The reading side of `chroma-qualify check`; the judgement itself is `checks.judge`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from chroma_qualify.checks.history import History, parse
from chroma_qualify.checks.plan import FaultRecord, RunPlan, read_faults, read_plan
from chroma_qualify.checks.run import ExperimentResult, Judgement, judge_all, judge_experiment
from chroma_qualify.errors import UsageError
from chroma_qualify.report.console import sentence
from chroma_qualify.report.verdict import combine
from chroma_qualify.workload.records import vectors

BESIDE = "beside"  # the second lane's directory in that of its run


def judge_run(directory: Path) -> Judgement:
    """The judgement over what a run directory holds: history, plan and faults of both lanes, the first lane's first.

    Raises:
        UsageError: there is no such directory, no history in it, or a file is none of the known format.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory", remedy="name the directory of a run: runs/<run id>")
    beside = directory / BESIDE
    lanes = [beside] if (beside / "history.jsonl").exists() else []
    if not lanes or (directory / "history.jsonl").exists() or load_plan(directory).experiments:
        lanes.insert(0, directory)
    judged = [
        judge_all(load_history(lane), load_plan(lane), load_faults(lane), vectors, tells_risks=lane == directory)
        for lane in lanes
    ]
    return Judgement(
        tuple(finding for each in judged for finding in each.findings),
        tuple(result for each in judged for result in each.experiments),
    )


def judge_recorded(directory: Path, experiment: str) -> ExperimentResult:
    """The judgement over one experiment of a run that may still go on."""
    plan = load_plan(directory)
    planned = next(each for each in plan.experiments if each.name == experiment)
    return judge_experiment(load_history(directory), plan, planned, load_faults(directory).get(experiment), vectors)


def load_history(directory: Path) -> History:
    """The history of a run directory; raises UsageError if there is none."""
    path = directory / "history.jsonl"
    try:
        with path.open("rb") as lines:
            return parse(lines)
    except FileNotFoundError:
        raise UsageError(
            f"{directory} has no history.jsonl", remedy="only a run that recorded one can be judged"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from None


def load_plan(directory: Path) -> RunPlan:
    """What plan.json of a run directory says; without one the strictest promises hold."""
    path = directory / "plan.json"
    try:
        return read_plan(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return RunPlan()
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="it is written at the start of a run") from None


def load_faults(directory: Path) -> dict[str, FaultRecord]:
    """What faults.jsonl of a run directory says, by experiment; a last line that was cut off is left out."""
    path = directory / "faults.jsonl"
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    whole = [line for line in lines if line.endswith(b"\n")]
    try:
        return read_faults(json.loads(line) for line in whole)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is none of the known format: {error}") from None


def as_json(judgement: Judgement) -> str:
    """The form of verdict.json."""
    document = {
        "verdict": combine(judgement.findings).value,
        "findings": [dataclasses.asdict(finding) for finding in judgement.findings],
        "experiments": [experiment_json(result) for result in judgement.experiments],
    }
    return _printable(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def experiment_json(result: ExperimentResult) -> dict[str, object]:
    """What a fault did, as verdict.json has it; the findings are among the others."""
    return {
        "experiment": result.experiment,
        "fault": result.fault,
        "stress": result.stress.value,
        "ran": result.ran,
        "reason": result.reason,
        "recall": dict(result.recall),
        "stale": dict(result.stale),
        "outage": None if result.outage is None else dataclasses.asdict(result.outage),
        "verdict": combine(result.findings).value,
    }


def as_text(judgement: Judgement) -> str:
    """The form for a person."""
    idle = [f"not run: {each.experiment}: {each.reason}" for each in judgement.experiments if not each.ran]
    lines = [f"verdict: {combine(judgement.findings).value}", *map(sentence, judgement.findings), *idle]
    return _printable("\n".join(lines) + "\n")


def _printable(text: str) -> str:
    """Half a surrogate pair, which JSON may hold and UTF-8 may not, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
