"""What a run directory says of its run, as far as it is there: a run that was cut has no verdict.json, or half a file.

Pure but for reading files; nothing in here raises because of what a run directory holds or lacks. Used by `page` and
`page_diff`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pydantic

from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.verdict import Matrix, MatrixCell, Outcome, RunResult, ScenarioResult, Verdict
from chroma_qualify.report.write import read_verdict

_LONGEST_LINE = 1 << 20  # bytes; a line of faults.jsonl has some hundred
_NO_WORD = "the run was cut before it could tell"
_FILES = (
    ("plan.json", "what was asked"),
    ("verdict.json", "the verdict, for programs"),
    ("junit.xml", "the verdict, for CI systems"),
    ("history.jsonl", "every operation of the clients"),
    ("faults.jsonl", "each fault, its proof and its end"),
    ("timeline.jsonl", "pods, autoscaler and events as the API server told them"),
    ("resources.jsonl", "CPU and memory of each container"),
    ("policy.json", "every probe of the network policy"),
    ("beside", "the second lane's own files"),
    ("expected", "a run that must fail, and did"),
    ("objects", "API objects of failed scenarios"),
    ("logs", "the log of every container"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A file or directory of the run directory; `size` in bytes, None of a directory."""

    name: str
    meaning: str
    size: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """A run as its page tells it.

    Attributes:
        result: what verdict.json says; of a run without one, what is known from its plan.
        cut: there is no usable verdict.json.
        plan: plan.json, or empty.
        faults: lines of faults.jsonl, each with where it is: "", `beside`, or `expected/…` for a run that must fail.
        files: what else there is to read.
        notes: sentences about what is missing or cannot be read.
    """

    result: RunResult
    cut: bool
    plan: Mapping[str, Any]
    faults: tuple[tuple[str, Mapping[str, Any]], ...]
    files: tuple[File, ...]
    notes: tuple[str, ...]

    @property
    def options(self) -> Mapping[str, Any]:
        """The options as the run understood them."""
        return mapping(self.plan.get("options"))


def read_facts(run_dir: Path) -> Facts:
    """Read a run directory.

    Raises:
        UsageError: there is no such directory.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is not a directory", remedy="name the directory of a recorded run")
    notes: list[str] = []
    plan = _plan(run_dir, notes)
    try:
        result, cut = _sound(read_verdict(run_dir)), False
    except FileNotFoundError:
        notes.append("There is no verdict.json: the run was cut before its end, and nothing is proven.")
        result, cut = _result_of(plan, run_dir), True
    except (OSError, ValueError, TypeError, RecursionError) as error:
        notes.append(f"verdict.json cannot be read ({str(error)[:300]}): nothing is proven.")
        result, cut = _result_of(plan, run_dir), True
    if not result.matrices and (matrix := _policy(run_dir)) is not None:
        result = dataclasses.replace(result, matrices=(matrix,))
    if not result.started:
        result = dataclasses.replace(result, started=_started(run_dir, plan))
    lanes = ["", "beside", *sorted(f"expected/{each.name}" for each in (run_dir / "expected").glob("*"))]
    faults = [(lane, fault) for lane in lanes for fault in _lines(run_dir / lane / "faults.jsonl")]
    files = tuple(
        File(name, meaning, None if (run_dir / name).is_dir() else (run_dir / name).stat().st_size)
        for name, meaning in _FILES
        if (run_dir / name).exists()
    )
    return Facts(result, cut, plan, tuple(faults), files, tuple(notes))


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object of JSON, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """The value if it is a list of JSON, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def number(value: object) -> float | None:
    """The value if it is a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sound(result: RunResult) -> RunResult:
    """The same, if everything in it is of its type: a verdict.json may be anybody's. Raises ValueError if not."""
    return pydantic.TypeAdapter(RunResult).validate_python(_whole(dataclasses.asdict(result)))


def _whole(value: Any) -> Any:  # noqa: ANN401 (any value of JSON)
    """The same without half surrogate pairs, which JSON may hold and no text may."""
    match value:
        case Enum():
            return value
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_whole(name): _whole(each) for name, each in value.items()}
        case list() | tuple():
            return [_whole(each) for each in value]
    return value


def _plan(run_dir: Path, notes: list[str]) -> Mapping[str, Any]:
    try:
        return mapping(json.loads((run_dir / "plan.json").read_bytes()))
    except FileNotFoundError:
        notes.append("There is no plan.json: what was asked of this run is not known.")
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"plan.json cannot be read ({error}): what was asked of this run is not known.")
    return {}


def _result_of(plan: Mapping[str, Any], run_dir: Path) -> RunResult:
    """What can be said of a run without a verdict."""
    finding = Finding(
        "cut-short",
        Severity.UNKNOWN,
        "the run left no verdict: it was cut before its end, and nothing is proven",
        remedy="run it again; what was recorded until then is below and in the files",
    )
    scenarios = tuple(
        ScenarioResult(str(name), Outcome.UNKNOWN, 0.0, (), _NO_WORD) for name in sequence(plan.get("scenarios"))
    )
    seed = plan.get("seed")
    return RunResult(
        run_id=str(plan.get("run_id") or run_dir.resolve().name),
        verdict=Verdict.UNKNOWN,
        findings=(finding,),
        scenarios=scenarios,
        parts=(),
        versions={str(name): str(version) for name, version in mapping(plan.get("versions")).items()},
        seed=seed if isinstance(seed, int) else -1,
        images=str(mapping(plan.get("options")).get("images") or ""),
        manifests=str(plan.get("manifests") or ""),
        digest=str(plan.get("digest") or ""),
        started=str(plan.get("started") or ""),
    )


def _policy(run_dir: Path) -> Matrix | None:
    """The truth table of a run whose verdict.json has none yet, from policy.json."""
    try:
        cells = sequence(mapping(json.loads((run_dir / "policy.json").read_bytes())).get("cells"))
    except (OSError, ValueError, RecursionError):
        return None
    told = [mapping(cell) for cell in cells]
    rows = tuple(dict.fromkeys(str(cell.get("source")) for cell in told))
    columns = tuple(dict.fromkeys(str(cell.get("target")) for cell in told))
    known = {
        (str(cell.get("source")), str(cell.get("target"))): MatrixCell(
            str(cell.get("expected")),
            "/".join(dict.fromkeys(map(str, sequence(cell.get("seen"))))) or "not probed",
            str(cell.get("judgement")),
        )
        for cell in told
    }
    if not known:
        return None
    table = tuple(tuple(known.get((row, column)) for column in columns) for row in rows)
    return Matrix("who may reach what", "network_policy::truth_table", rows, columns, table)


def _started(run_dir: Path, plan: Mapping[str, Any]) -> str:
    """When the run began: its plan says it, or its watch of the cluster began soon after."""
    if isinstance(plan.get("started"), str) and plan["started"]:
        return str(plan["started"])
    first = next(iter(_lines(run_dir / "timeline.jsonl", most=1)), {})
    with_wall, since = first.get("wall"), number(first.get("time"))
    try:
        wall = datetime.datetime.fromisoformat(str(with_wall))
        return (wall - datetime.timedelta(seconds=(since or 0) / 1e9)).isoformat()
    except (ValueError, OverflowError):
        return str(plan.get("date") or "")


def _lines(path: Path, most: int = 100_000) -> list[Mapping[str, Any]]:
    """The objects of a file of JSON lines; what is none (a last line that was cut off) is left out."""
    found: list[Mapping[str, Any]] = []
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    found.append(value)
                if len(found) >= most:
                    break
    except OSError:
        pass
    return found
