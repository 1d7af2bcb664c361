"""Three servers on one volume, all written to: the case that this project exists for.

Every write is acknowledged, `get` and `count` are whole, probes are green; but each replica's index holds another part,
and after scaling in some records are in none of them, for good. Without `--manifests` the shipped topology
`autoscaling` is tried, which is for reads only: there the scenario passes if the loss is found and named. A candidate
with an autoscaler is tried as it is, by a write load that makes it scale out, and fails.
"""

import contextlib
import functools

import pytest

from chroma_qualify.deployment.apply import ready_pods, scale, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults import writers
from chroma_qualify.faults.experiment import FINAL_PATIENCE, PATIENCE
from chroma_qualify.faults.experiments import SCALED_OUT_WRITES, SCALING_LOAD, SHARED
from chroma_qualify.load.scale import watch_scaling
from chroma_qualify.rejudge import judge_recorded
from chroma_qualify.workload import client
from chroma_qualify.workload.runner import Traffic

pytestmark = [
    pytest.mark.alone,  # three replicas take the room there is
    pytest.mark.own_cluster("its servers must be on one node, with the volume"),
]

MUST_BE_FOUND = {"lost-index", "diverged"}
UP_WITHIN = 280.0  # s; metrics every 15 s, HPA every 15 s, a start


def test_writes_while_scaled_out(run, deploy, forward, report, writers_context, repetition):
    context = writers_context
    deployed = deploy("autoscaling")
    way = forward(deployed)
    begin = run.clock()
    loaded = {}
    pods = scale_by_load(deployed, way, context, loaded) if run.options.manifests else scale_by_hand(deployed)
    proven = run.clock()
    with contextlib.ExitStack() as stack:
        written = writers.write_and_compare({pod: way_to(stack, deployed, pod) for pod in pods}, context)
    drop_autoscaler(deployed)
    writers.back_to_one(deployed)
    writers.log(context, begin, pods, proven, run.clock())
    for collection, values in {SHARED: written, **loaded}.items():
        writers.read_finally(
            deployed, functools.partial(connect_to, way, deployed.credentials), values, context, collection
        )

    result = judge_recorded(context.run_dir, SCALED_OUT_WRITES)
    seconds = (run.clock() - proven) / 1e9
    report.measure("records acknowledged", len(written))
    report.measure("judged after the third replica", seconds, "s")
    if run.options.manifests:
        run.add_experiment(result)
        report.add(*result.findings)
        return
    found = {finding.rule: finding for finding in result.findings}
    for rule in sorted(MUST_BE_FOUND & found.keys()):
        run.say(f"found, as it must be: {rule}: {found[rule].message}")
    if missing := sorted(MUST_BE_FOUND - found.keys()):
        report.unknown(
            "harness-blind",
            f"three servers on one volume were written to, and {', '.join(missing)} was not found",
            evidence="; ".join(finding.message for finding in result.findings) or "no finding at all",
        )


def connect_to(way, credentials, patience):
    return client.connect(way.host, way.port, credentials=credentials, timeout=patience)


def way_to(stack, deployed, pod):
    """Connects to one replica."""
    way = open_forward(deployed.cluster, deployed.namespace, f"pod/{pod}", deployed.candidate.container_port)
    stack.enter_context(way)
    return functools.partial(connect_to, way, deployed.credentials, FINAL_PATIENCE)


def drop_autoscaler(deployed):
    """So that one server stays one."""
    name = deployed.candidate.hpa["metadata"]["name"]
    deployed.cluster.run_kubectl("delete", "hpa", name, "-n", deployed.namespace, "--ignore-not-found")


def scale_by_hand(deployed):
    """What the autoscaler would do, without its waits; that it does do it is shown by the scale-out scenario."""
    drop_autoscaler(deployed)
    scale(deployed, deployed.candidate.hpa["spec"]["maxReplicas"])
    wait_ready(deployed)
    return several(ready_pods(deployed))


def scale_by_load(deployed, way, context, loaded):
    """Writes alone take the autoscaler to its maximum; `loaded` gets what was written."""
    connect = functools.partial(connect_to, way, deployed.credentials, PATIENCE)
    with Traffic(context.recorder, connect, [SCALING_LOAD], context.seed, context.clock) as traffic:
        up = watch_scaling(deployed, deployed.candidate.hpa["spec"]["maxReplicas"], timeout=UP_WITHIN)
    loaded[SCALING_LOAD.collection] = traffic.written(SCALING_LOAD)
    return several(up.pods)


def several(pods):
    if len(pods) < 2:
        raise UndecidedError(f"one server only is ready ({', '.join(pods) or 'none'}): nothing was tried")
    return pods
