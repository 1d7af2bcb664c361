"""What was watched beside the operations: servers, CPU and memory, faults, scenarios. Called by `series`."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeGuard

import orjson

from chroma_qualify.report.shapes import Band, Replicas, Totals, Usage

_WORKLOADS: Final = ("Deployment", "StatefulSet")
_SAMPLE: Final = 5.0  # s; use of CPU is not measured more often
_MOST_PODS, _MOST_POINTS, _MOST_BANDS = 24, 600, 500

Line = Mapping[str, Any]


def lines_of(path: Path, notes: list[str], name: str) -> list[Line]:
    """The JSON objects of a file of lines, with their `time` if there is one in whole nanoseconds.

    Args:
        path: of the file; one that is not there has no lines.
        notes: gets a sentence if something could not be read.
        name: of the file, for the sentence.
    """
    try:
        raw = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.append(f"{name} cannot be read: {error.strerror}")
        return []
    found: list[Line] = []
    for line in raw:
        with contextlib.suppress(ValueError):  # a last line that was cut off, or worse
            parsed = orjson.loads(line)
            if isinstance(parsed, dict):
                found.append(parsed)
    if broken := len(raw) - len(found):
        notes.append(f"{name}: {broken} of {len(raw)} lines cannot be read, and are left out")
    return found


def replicas(lines: Iterable[Line], lane: str, shift: float) -> list[Replicas]:
    """Of each workload how many servers were ready, as the timeline tells it; `shift`: seconds to the run's axis."""
    found: dict[tuple[str, str], Replicas] = {}
    for line in lines:
        if line.get("kind") not in _WORKLOADS or not isinstance(line.get("time"), int):
            continue
        place = str(line.get("namespace") or ""), f"{line['kind']}/{line.get('name')}"
        series = found.setdefault(place, Replicas(lane, *place, [], [], []))
        gone = line.get("event") == "DELETED"
        ready, wanted = (0 if gone else _whole(line.get(field)) for field in ("ready", "wanted"))
        if series.t and (series.ready[-1], series.wanted[-1]) == (ready, wanted):
            continue
        if len(series.t) < _MOST_POINTS:
            series.t.append(_seconds(line["time"], shift))
            series.ready.append(ready)
            series.wanted.append(wanted)
    return list(found.values())


def gaps(lines: Iterable[Line], lane: str, shift: float) -> list[Band]:
    """When the API server was away, so that the timeline knows nothing."""
    found: list[Band] = []
    begin: tuple[float, str] | None = None
    for line in lines:
        if line.get("kind") != "Gap" or not isinstance(line.get("time"), int):
            continue
        at = _seconds(line["time"], shift)
        if line.get("event") == "BEGIN" and begin is None:
            begin = at, str(line.get("reason") or "")
        elif line.get("event") == "END" and begin is not None:
            found.append(Band(lane, "gap", "API server away", "", begin[0], at, told=begin[1]))
            begin = None
    if begin is not None:
        found.append(Band(lane, "gap", "API server away", "", begin[0], None, told=begin[1]))
    return found[:_MOST_BANDS]


def usage(samples: Sequence[tuple[str, float, Line]], width: float, notes: list[str]) -> tuple[list[Usage], Totals]:
    """CPU and memory of each pod and of all together.

    Args:
        samples: lane, seconds to the run's axis, and line of resources.jsonl.
        width: seconds of a bin of the axis; here none is shorter than the time between two samples.
        notes: gets a sentence if pods are left out.
    """
    width = max(width, _SAMPLE)
    sums: dict[tuple[str, str, str], dict[int, dict[int, list[float]]]] = {}  # by pod, bin, time: cpu, memory
    for lane, shift, line in samples:
        time, cpu, memory = line.get("time"), line.get("cpu"), line.get("memory")
        if not isinstance(time, int) or not _is_number(cpu) or not _is_number(memory):
            continue
        pod = lane, str(line.get("namespace")), str(line.get("pod"))
        at = int((time / 1e9 + shift) / width)
        both = sums.setdefault(pod, {}).setdefault(at, {}).setdefault(time, [0.0, 0.0])
        both[0] += cpu  # of its containers together
        both[1] += memory
    means = {
        pod: {
            at: (sum(each[0] for each in some.values()) / len(some), sum(each[1] for each in some.values()) / len(some))
            for at, some in bins.items()
        }
        for pod, bins in sums.items()
    }
    totals = _totals(means, width)
    largest = sorted(means, key=lambda pod: (-max(memory for _, memory in means[pod].values()), pod))
    if len(largest) > _MOST_PODS:
        notes.append(f"CPU and memory: the {_MOST_PODS} largest of {len(largest)} pods are shown, the sum is of all")
    shown = sorted(largest[:_MOST_PODS], key=lambda pod: (min(means[pod]), pod))
    return [_of_pod(pod, means[pod], width) for pod in shown], totals


def _totals(means: Mapping[tuple[str, str, str], Mapping[int, tuple[float, float]]], width: float) -> Totals:
    together: dict[int, list[tuple[float, float]]] = collections.defaultdict(list)
    for bins in means.values():
        for at, both in bins.items():
            together[at].append(both)
    totals = Totals([], [], [], [], [])
    for at in sorted(together):
        cpus, memories = zip(*together[at], strict=True)
        totals.t.append(round(at * width, 3))
        totals.cpu_sum.append(round(sum(cpus), 4))
        totals.cpu_max.append(round(max(cpus), 4))
        totals.memory_sum.append(int(sum(memories)))
        totals.memory_max.append(int(max(memories)))
    return totals


def _of_pod(pod: tuple[str, str, str], bins: Mapping[int, tuple[float, float]], width: float) -> Usage:
    times = sorted(bins)
    return Usage(
        *pod,
        [round(at * width, 3) for at in times],
        [round(bins[at][0], 4) for at in times],
        [int(bins[at][1]) for at in times],
    )


def faults(lines: Iterable[Line], lane: str, shift: float) -> list[Band]:
    """Faults as bands; one that could not be done here, or has not begun, is none."""
    found = []
    for line in lines:
        if not isinstance(begin := line.get("begin"), int) or "fault" not in line:
            continue
        proven, healed = line.get("proven"), line.get("healed")
        found.append(
            Band(
                lane,
                "fault",
                str(line.get("experiment") or line["fault"]),
                str(line["fault"]),
                _seconds(begin, shift),
                _seconds(healed, shift) if isinstance(healed, int) else None,
                _seconds(proven, shift) if isinstance(proven, int) else None,
                str(line.get("error") or ""),
            )
        )
    return found[:_MOST_BANDS]


def scenarios(verdict: Mapping[str, Any], beside: Iterable[str]) -> list[Band]:
    """Scenarios that ran, by their begin; `beside`: names of those of the second lane."""
    second, found = set(beside), []
    for each in verdict.get("scenarios") or ():
        began, took = each.get("began"), each.get("seconds")
        if _is_number(began) and _is_number(took):
            name = str(each.get("name"))
            lane = "beside" if name in second else ""
            found.append(
                Band(lane, "scenario", name, str(each.get("outcome")), round(began, 3), round(began + took, 3))
            )
    return sorted(found, key=lambda band: (band.begin, band.name))[:_MOST_BANDS]


def _seconds(time: int, shift: float) -> float:
    return round(time / 1e9 + shift, 3)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
