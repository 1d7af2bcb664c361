"""Which faults are struck, under which traffic: a table of small values, and what plan.json says of it.

Every fault that can cost data strikes while two collections are written that differ in their `sync_threshold` alone, so
that the mitigation is tried beside the defect. Read by the scenarios, the plugin (plan.json) and `chroma-qualify plan`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chroma_qualify.checks.promises import Setting, Stress
from chroma_qualify.errors import UsageError
from chroma_qualify.faults import FAULTS, by_name
from chroma_qualify.faults.base import Fault
from chroma_qualify.workload.history import Phase
from chroma_qualify.workload.plans import PRELOAD_BATCH, Kind, Workload, both_settings

POWER_LOSSES = 2  # images of a crash in an ordinary run; the nightly takes 20
_LANES = 8  # that an experiment may use; lane numbers, and so values, are an experiment's own
_QUIET = (999, 1000, 1001)  # records of collections that nobody writes to: Chroma flushes its index every 1000 writes


class Place(enum.StrEnum):
    """Which deployment an experiment needs."""

    VOLUME = "volume"  # the candidate on a volume of ours where it can be had; experiments share it
    OLDER = "older"  # the candidate with an older image


@dataclasses.dataclass(frozen=True, slots=True)
class Experiment:
    """One fault under traffic.

    Attributes:
        name: the fault's, with a number where it is struck more than once.
        fault: what is done.
        stress: what it asks of the data.
        workloads: the traffic.
        hold: seconds from the fault's proof until it is taken back.
        quiet: sizes of collections that are written before and read afterwards, and never touched between.
        place: where.
        restart: is the server restarted before the final reads?
        past_api_server: must the clients reach Chroma without the API server?
        nodes: that the cluster must have.
        own_nodes: must they be ours, so that the fault can be made from them?
        alone: does it strike at more than the deployment's namespace, so that nothing may run beside it?
        spoils: may an experiment after it on the same deployment meet what it did?
        seconds: usual duration on 2 cores.
    """

    name: str
    fault: Fault
    stress: Stress
    workloads: tuple[Workload, ...]
    hold: float = 0.0
    quiet: tuple[int, ...] = ()
    place: Place = Place.VOLUME
    restart: bool = False
    past_api_server: bool = False
    nodes: int = 1
    own_nodes: bool = True
    alone: bool = False
    spoils: bool = False
    seconds: int = 15

    def as_json(self) -> dict[str, Any]:
        """The form that plan.json carries, see `checks.plan`."""
        return {
            "name": self.name,
            "fault": self.fault.name,
            "stress": self.stress.value,
            "hold_seconds": self.hold,
            "nodes": self.nodes,
            "own_nodes": self.own_nodes,
            "expected_seconds": self.seconds,
            "collections": [
                {
                    "name": workload.collection,
                    "setting": setting_of(workload).value,
                    "floors": {phase.value: floor for phase, floor in floors(workload).items()},
                    "workload": workload.as_json(),
                }
                for workload in self.workloads
            ],
        }


def setting_of(workload: Workload) -> Setting:
    """How its collection is made."""
    return Setting.DEFAULT if workload.sync_threshold is None else Setting.NEVER


def floors(workload: Workload) -> dict[Phase, int]:
    """Operations that a phase needs to count: acknowledged ones, while the fault lasts sent ones."""
    few = 2 if workload.kind is Kind.BULK else 8
    loaded = -(-workload.preload // PRELOAD_BATCH)  # before the traffic, but recorded as it is
    return {Phase.BEFORE: loaded + few, Phase.DURING: 1, Phase.AFTER: few}


def experiments(power_losses: int = POWER_LOSSES) -> tuple[Experiment, ...]:
    """All there are, in the order in which they are made; the same numbers of lanes whatever is selected of them.

    Faults that restart the container stand between faults that replace the pod: a pod whose container restarts again
    and again is held back by the kubelet, for longer each time.
    """
    return tuple(_numbered(_table(power_losses)))


def chosen(table: Sequence[Experiment], names: Sequence[str]) -> tuple[Experiment, ...]:
    """Those of a table that are named, by themselves or by their fault; all of them if nothing is named.

    Raises:
        UsageError: one name is none of either.
    """
    known = {name for each in table for name in (each.name, each.fault.name)}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no fault {unknown[0]!r}", remedy=f"there are {', '.join(sorted(known))}")
    wanted = set(names)
    return tuple(each for each in table if not wanted or wanted & {each.name, each.fault.name})


def fault_names() -> frozenset[str]:
    """All that qualification.yaml may speak of."""
    return frozenset((*(fault.name for fault in FAULTS), SCALED_OUT_WRITES, PROMOTION))


def plan_json(chosen: Iterable[Experiment]) -> list[dict[str, Any]]:
    """What plan.json carries as `experiments`."""
    return [experiment.as_json() for experiment in chosen]


# From one set of manifests to another: `promotion.Promotion` needs both, so it is no row of the table.
PROMOTION = "promotion"
# Several servers on one volume, each written to: no `Fault`, see `writers`.
SCALED_OUT_WRITES = "scaled-out-writes"
SHARED = f"{SCALED_OUT_WRITES}.shared"  # the collection that is written through each replica by itself
ROUNDS = 20  # batches that each replica is given
# What makes an autoscaler move: more than one server can take, so that it is at its CPU limit all the time.
SCALING_LOAD = Workload(Kind.BULK, rate=3.0, lanes=6, first_lane=1900, scope=SCALED_OUT_WRITES)


def scaled_out_writes(*, by_load: bool) -> dict[str, Any]:
    """What plan.json carries of the writes to several servers; `by_load`: it is a write load that makes it scale."""
    shared = {
        "name": SHARED,
        "setting": Setting.DEFAULT.value,
        "floors": {Phase.DURING.value: 2 * ROUNDS, Phase.AFTER.value: 4},
    }
    load = {"name": SCALING_LOAD.collection, "setting": Setting.DEFAULT.value, "floors": {}}
    return {
        "name": SCALED_OUT_WRITES,
        "fault": SCALED_OUT_WRITES,
        "stress": Stress.SCALED_OUT.value,
        "collections": [shared, load] if by_load else [shared],
    }


def _table(power_losses: int) -> Iterator[Experiment]:
    kill, graceful = Stress.PROCESS_KILL, Stress.GRACEFUL

    def row(name: str, stress: Stress, seconds: int, **fields: Any) -> Experiment:  # noqa: ANN401
        fault = by_name(fields.pop("fault", name))
        return Experiment(name, fault, stress, fields.pop("workloads", _REGISTER), seconds=seconds, **fields)

    yield row("pod-delete", graceful, 15, quiet=_QUIET, own_nodes=False)
    yield row("process-kill", kill, 13, quiet=_QUIET, workloads=_CHURN)
    yield row("rollout-restart", graceful, 15, quiet=_QUIET, own_nodes=False)
    yield row("out-of-memory", kill, 13)
    yield row("pod-kill", kill, 15, quiet=_QUIET, workloads=_CHURN, own_nodes=False)
    yield row("process-stop", graceful, 15, hold=6.0)
    yield row("cpu-starvation", graceful, 20, hold=4.0, workloads=_READ)
    yield row("scale-out", Stress.SCALED_OUT, 12, hold=2.0, workloads=_CHURN, own_nodes=False)
    yield row("network-partition", graceful, 18, hold=4.0)
    yield row("network-loss", graceful, 15, hold=4.0, workloads=_READ)
    yield row("network-latency", graceful, 17, hold=3.0, workloads=_READ)
    yield row("dns-down", graceful, 18, hold=1.0, alone=True)
    yield row("api-server-down", graceful, 15, hold=3.0, past_api_server=True, alone=True)
    yield row("node-pause", graceful, 15, hold=4.0, alone=True)
    yield row("node-restart", kill, 45, quiet=_QUIET, workloads=_CHURN, alone=True)
    yield row("node-drain", graceful, 30, nodes=2, alone=True)
    yield row("node-loss", kill, 120, nodes=2, alone=True)
    for number in range(1, power_losses + 1):
        yield row(f"power-loss-{number}", Stress.POWER_LOSS, 25, fault="power-loss", workloads=_BULK)
    # Restarted, for that is the mitigation: what was acknowledged must be there then.
    yield row("volume-full", Stress.VOLUME_FULL, 50, hold=6.0, restart=True, spoils=True)
    yield row("image-upgrade", graceful, 40, place=Place.OLDER, workloads=_READ, own_nodes=False)


# Rates that a server under the CPU limit of half a core keeps up with (280 adds of one record a second).
_APPEND = both_settings(Workload(Kind.APPEND, rate=5, lanes=2, preload=500))
_REGISTER = (*_APPEND, Workload(Kind.REGISTER, rate=8, lanes=2, first_lane=4))
_CHURN = (*_APPEND, Workload(Kind.CHURN, rate=6, lanes=2, first_lane=4))
_READ = (*_APPEND, Workload(Kind.READ_ONLY, rate=8, lanes=2, first_lane=4, preload=300))
# Past two flushes of the index at once, and over the next ones quickly.
_BULK = both_settings(Workload(Kind.BULK, rate=0.6, lanes=2, preload=2_000))


def _numbered(table: Iterable[Experiment]) -> Iterator[Experiment]:
    """Give each experiment lanes and collections of its own."""
    for number, experiment in enumerate(table):
        workloads = tuple(
            dataclasses.replace(workload, first_lane=number * _LANES + workload.first_lane, scope=experiment.name)
            for workload in experiment.workloads
        )
        yield dataclasses.replace(experiment, workloads=workloads)
