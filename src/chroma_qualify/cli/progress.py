"""What is known of a run while it runs: from its lines of progress, and what it writes. Pure: no terminal, no clock.

`live` feeds it, `board` draws it. All of it is read as it comes; nothing is read twice.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FIRST, BESIDE = "", "beside"
_LINE = re.compile(r"\[ *(\d+\.\d) s\] (.*)")
_RUN = re.compile(r"run (\S+): (\d+) scenario\(s\), seed (\d+), evidence in (.*)")
_BEGINS = re.compile(r"(\S+::.+|\S+): begins \((\d+) of (\d+)\)")
_ENDED = re.compile(r"(.+): (pass|fail|unknown|infra|not-run) after (\d+\.\d) s ?(.*)")
_FOUND = re.compile(r"(.+): (fail|unknown|infra|accepted|note): ([a-z0-9-]+): (.*)")
_LINT = re.compile(r"lint: (fail|unknown|infra|accepted|note): ([a-z0-9-]+): (.*)")
_FAULT = re.compile(r"fault\[(.+)\]")
_WINDOW = 10  # s over which rates are told
_USUALLY = 12.0  # s of a scenario of which nothing else is known
_CLUSTER = 55.0  # s until the first scenario has a cluster, and to delete it


@dataclasses.dataclass(slots=True)
class Lane:
    """What runs in one of the two lanes.

    Attributes:
        scenario: the one that runs, or "".
        since: seconds of the run when it began.
        position: `3 of 20`.
        phase: of the last operation of its fault: before, during, after, final.
    """

    scenario: str = ""
    since: float = 0.0
    position: str = ""
    phase: str = ""

    @property
    def fault(self) -> str:
        """The fault that this scenario is about, or ""."""
        found = _FAULT.search(self.scenario)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """One finding, as soon as its scenario ended."""

    severity: str
    rule: str
    scenario: str
    message: str


@dataclasses.dataclass(slots=True)
class Progress:
    """The state of one run.

    Attributes:
        directory: of the run, once it is known.
        scenarios: how many there are, in both lanes.
        outcomes: of those that ended.
        step: the last thing that was said which is about no scenario.
        ending: it was interrupted, and clears away.
        second: the last second of the run that anything was said or written.
        replicas: of workloads: ready and wanted.
    """

    id: str = ""
    seed: int = 0
    directory: Path | None = None
    scenarios: int = 0
    step: str = ""
    ending: bool = False
    second: float = 0.0
    lanes: dict[str, Lane] = dataclasses.field(default_factory=lambda: {FIRST: Lane()})
    outcomes: dict[str, str] = dataclasses.field(default_factory=dict)
    findings: list[Found] = dataclasses.field(default_factory=list)
    replicas: dict[tuple[str, str], tuple[int, int]] = dataclasses.field(default_factory=dict)
    expected: dict[str, float] = dataclasses.field(default_factory=dict)
    _rates: dict[str, collections.Counter[int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )

    def line(self, text: str) -> bool:
        """Take a line of the run's output; False if it is none of progress, so that it is for the reader as it is."""
        stamped = _LINE.match(printable(text))
        if stamped is None:
            return False
        self.second = max(self.second, float(stamped[1]))
        told = stamped[2]
        name = FIRST
        if told.startswith(f"{BESIDE}: "):
            name, told = BESIDE, told.removeprefix(f"{BESIDE}: ")
        lane = self.lanes.setdefault(name, Lane())
        if found := _RUN.fullmatch(told):
            if name == FIRST:
                self.id, self.scenarios, self.seed = found[1], int(found[2]), int(found[3])
                self.directory = Path(found[4])
        elif found := _BEGINS.fullmatch(told):
            lane.scenario, lane.position, lane.since, lane.phase = (
                found[1],
                f"{found[2]} of {found[3]}",
                self.second,
                "",
            )
        elif found := _ENDED.fullmatch(told):
            self.outcomes[found[1]] = found[2]
            lane.scenario, lane.phase = "", ""
        elif found := _LINT.fullmatch(told):
            self.findings.append(Found(found[1], found[2], "lint", found[3]))
        elif found := _FOUND.fullmatch(told):
            self.findings.append(Found(found[2], found[3], found[1], found[4]))
        else:
            self.step = told
        return True

    def plan(self, document: Mapping[str, Any]) -> None:
        """Take plan.json: how long the faults usually take."""
        for experiment in document.get("experiments") or ():
            if seconds := experiment.get("expected_seconds"):
                self.expected.setdefault(f"faults::fault[{experiment.get('name')}]", float(seconds))

    def earlier(self, verdict: Mapping[str, Any]) -> None:
        """Take an earlier run's verdict.json: how long scenarios took then, where that is not known yet."""
        for scenario in verdict.get("scenarios") or ():
            if scenario.get("outcome") not in {None, "not-run"}:
                self.expected.setdefault(str(scenario.get("name")), float(scenario.get("seconds") or 0))

    def operations(self, lane: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take lines of a history.jsonl."""
        for line in lines:
            kind, second = line.get("type"), int(line.get("time", 0)) // 1_000_000_000
            if kind != "invoke":
                self._rates["ok" if kind == "ok" else "errors"][second] += 1
            self.second = max(self.second, float(second))
            if phase := line.get("phase"):
                self.lanes.setdefault(lane, Lane()).phase = str(phase)

    def timeline(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take lines of a timeline.jsonl."""
        for line in lines:
            if line.get("kind") in {"Deployment", "StatefulSet"}:
                key = (str(line.get("namespace")), str(line.get("name")))
                if line.get("event") == "DELETED":
                    self.replicas.pop(key, None)
                else:
                    self.replicas[key] = (int(line.get("ready") or 0), int(line.get("wanted") or 0))

    def rate(self, kind: str, now: float) -> float:
        """Operations a second of the last ten seconds; `kind`: ok or errors."""
        counted, since = self._rates[kind], int(now) - _WINDOW
        for second in [second for second in counted if second < since]:
            del counted[second]
        return sum(counted.values()) / _WINDOW

    def outlook(self, planned: Sequence[str], now: float) -> float:
        """Seconds that the run will take in all, about; 0 if nothing is known of any scenario."""
        left = [name for name in planned if name not in self.outcomes and name != "lint"]
        if not self.expected or not planned:
            return 0.0
        running = {lane.scenario: now - lane.since for lane in self.lanes.values() if lane.scenario}
        rest = sum(max(self.expected.get(name, _USUALLY) - running.get(name, 0.0), 0.0) for name in left)
        lanes = max(len(self.lanes), 1)
        begun = bool(self.outcomes.keys() - {"lint"}) or bool(running)
        return now + rest / lanes + (5.0 if begun else _CLUSTER)


def printable(text: str) -> str:
    """A line that moves no cursor and changes no colour, whatever somebody's manifests or server put into it."""
    return "".join(each if each.isprintable() else " " for each in text)


def directory_of(text: str) -> Path | None:
    """The run directory, if this line of progress is the one that names it."""
    stamped = _LINE.match(text.rstrip("\n"))
    found = _RUN.fullmatch(stamped[2]) if stamped else None
    return Path(found[4]) if found else None
