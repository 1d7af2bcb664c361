"""Monitoring on the real thing: targets are up, each alert fires by a real fault and resolves, each query has data.

One Chroma with the component `monitoring`, one Prometheus with its operator, both in a hurry (see observe.hurry): the
same expressions and thresholds, quicker.
"""

import contextlib
import json
import subprocess
import threading
import time
from pathlib import Path

import kubernetes.client
import pytest
import yaml

from chroma_qualify.cluster.images.catalog import load_catalog
from chroma_qualify.cluster.images.golang import program_dir
from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for, wait_for
from chroma_qualify.deployment.apply import apply, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.objects import Candidate, of_kind
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.deployment.volume import drop_volume, provide_volume
from chroma_qualify.faults import by_name
from chroma_qualify.faults.base import ready_again, the_server
from chroma_qualify.faults.pressure import index_broken, memory_held, volume_filled
from chroma_qualify.load import inside, probes
from chroma_qualify.observe.hurry import hurried
from chroma_qualify.observe.stack import monitoring_stack
from chroma_qualify.workload import client
from chroma_qualify.workload.records import Values, make_records, vectors

pytestmark = [
    pytest.mark.beside,
    pytest.mark.own_cluster("the Prometheus operator and its definitions are the whole cluster's"),
]

ROOT = Path(__file__).parents[2]
SEEDS_MONITOR = ROOT / "tests" / "gauntlet" / "seed" / "servicemonitor.yaml"
WRONG_PATHS = {"seed-as-it-was": "/api/v1/heartbeat", "seed-on-v2": "/api/v2/heartbeat"}
VOLUME = 256  # MiB
CLIENTS = 8  # at once, of queries of 100 vectors each: 20 ms of a processor
WITHIN = 300.0  # s, for whatever is waited for: an alert takes 6 to 80 s, the reloader at the worst three minutes
MONITORS = {
    ("chromadb", "chromadb-collector"),
    ("chromadb", "chromadb-canary"),
    ("chromadb-heartbeat", "chromadb-blackbox"),
}
BROKEN = {"ChromaRestarting", "ChromaErrors", "ChromaCanaryFailing"}
SHORT = {"ChromaMemoryNearLimit", "ChromaAutoscalerAtMaximum", "ChromaVolumeNearFull", "ChromaQueriesSlow"}
ALERTS = BROKEN | SHORT | {"ChromaDown", "ChromaMonitoringBlind"}


@pytest.fixture(scope="module")
def place(run, cluster, module_namespace):
    """The deployment and its volume; beside it, what the seed pointed Prometheus at."""
    if run.options.manifests:
        pytest.skip("it tries the component `monitoring` on a topology of its own, not the candidate")
    candidate = in_namespace(load_candidate(ROOT / "tests/overlays/monitoring", cluster.kubectl), module_namespace)
    quick = Candidate.from_objects(hurried(candidate.objects), candidate.directory, kubectl=candidate.kubectl)
    volume = provide_volume(cluster, quick, module_namespace, VOLUME, measured=True)
    try:
        deployed = apply(cluster, quick, module_namespace)
        inside.apply(cluster, hurried(list(seeds_monitors(module_namespace))))
        run.say(f"{module_namespace}: ready after {wait_ready(deployed):.1f} s")
        yield deployed, volume
    finally:
        drop_volume(volume)


@pytest.fixture(scope="module")
def prometheus(run, cluster, place):
    """After `place`, so that it begins with all ServiceMonitors: a change may take the reloader three minutes."""
    run.say("monitoring: Prometheus and its operator come up")
    with monitoring_stack(cluster, ROOT / "manifests" / "platform" / "prometheus", keep=run.options.keep) as answers:
        yield answers


@pytest.fixture(scope="module")
def deployed(place, prometheus):
    """Chroma, watched: every target is up, and every step of the canary went well."""
    deployed = place[0]
    prometheus.wait_targets(
        deployed.namespace,
        lambda targets: {(one.monitor, one.service) for one in targets if one.health == "up"} >= MONITORS,
        what="the ServiceMonitors' targets to be up",
        timeout=WITHIN,
    )
    prometheus.wait_data(of(deployed, "min(chromadb_canary_success{%s}) == 1"), timeout=WITHIN)
    prometheus.wait_data(of(deployed, 'chromadb_request_calls_total{http_route=~".*/query",%s}'), timeout=WITHIN)
    return deployed


def seeds_monitors(namespace):
    """The seed's ServiceMonitor, as it was and with today's path."""
    for name, path in WRONG_PATHS.items():
        monitor = yaml.safe_load(SEEDS_MONITOR.read_text())
        monitor["metadata"] |= {"name": name, "namespace": namespace}
        monitor["spec"]["endpoints"][0]["path"] = path
        yield monitor


def of(deployed, expression):
    """The expression with the deployment's namespace in place of %s."""
    return expression.replace("%s", f'namespace="{deployed.namespace}"')


def test_every_target_is_up(deployed, prometheus, report):
    """And in a good state nothing is even pending: the control of all that follows."""
    # Waited for: a scrape of a machine that is busy may fail.
    ours = of(deployed, 'up{job!="chromadb-service",%s}')  # that one is the seed's
    up = prometheus.wait_data(f"sum({ours}) == {len(MONITORS)}", timeout=WITHIN)
    assert len(prometheus.query(ours)) == len(MONITORS)
    prometheus.wait_alerts(deployed.namespace, ALERTS, firing=False, timeout=WITHIN)
    report.measure("targets up", up[0].value)


def test_the_seeds_service_monitor_is_down_for_ever(deployed, prometheus, report):
    """What the seed pointed Prometheus at, and the same with today's path: neither is a metrics endpoint."""
    # Waited for, with its words: a scrape of a machine that is busy may end otherwise.
    said = (("seed-as-it-was", "410 Gone"), ("seed-on-v2", "application/json"))
    targets = prometheus.wait_targets(
        deployed.namespace,
        lambda targets: all(any(name == one.monitor and words in one.error for one in targets) for name, words in said),
        what="the seed's ServiceMonitor to be tried",
        timeout=WITHIN,
    )
    health = {one.monitor: one.health for one in targets if one.monitor in WRONG_PATHS}
    assert health == dict.fromkeys(WRONG_PATHS, "down")
    # One series of both: they scrape the same port of the same pod.
    prometheus.wait_data(of(deployed, 'up{job="chromadb-service",%s} == 0'), timeout=WITHIN)
    report.measure("targets that can only be down", len(health))


def test_promtool_checks_and_tests_the_rules(deployed, tmp_path, report):
    promtool = program_dir(load_catalog().go["prometheus"]) / "promtool"
    if not promtool.exists():
        pytest.skip("promtool is not there: it is built with Prometheus, where images are built from packages")
    # As a user applies them, not in a hurry.
    manifest = yaml.safe_load((ROOT / "manifests/components/monitoring/rules.yaml").read_text())
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(manifest["spec"]))
    (tmp_path / "cases.yaml").write_text((ROOT / "tests/overlays/monitoring/rules-cases.txt").read_text())
    for verb, name in (("check", "rules.yaml"), ("test", "cases.yaml")):
        done = subprocess.run(
            [promtool, verb, "rules", name], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
    report.measure("rules", sum(len(group["rules"]) for group in manifest["spec"]["groups"]))


def test_alerts_fire_by_their_faults_and_resolve(place, deployed, prometheus, seed, report):
    _, volume = place
    victim = fill(deployed, "victim", Values(seed).take(300))
    fill(deployed, "busy", Values(seed + 2).take(200))
    # A crash leaves a broken index: the server is back, its heartbeat is green, and a collection cannot be queried.
    with index_broken(volume):
        injected = by_name("process-kill").inject(deployed)
        fired = wait_each(prometheus, deployed, BROKEN, firing=True)
        ready_again(deployed, injected)
        green = 'min(probe_success{job="chromadb-blackbox",%s}) == 1 and on () min(chromadb_canary_success{%s}) == 0'
        prometheus.wait_data(of(deployed, green), timeout=WITHIN)
    with memory_held(deployed, percent=94), volume_filled(volume, free=8), slow_queries(deployed, seed):
        fired |= wait_each(prometheus, deployed, SHORT, firing=True)
    resolved = wait_each(prometheus, deployed, BROKEN | SHORT, firing=False)
    for name in sorted(fired):
        report.measure(f"{name} fired after", fired[name], "s")
        if name in SHORT:  # the others ended while these were waited for
            report.measure(f"{name} resolved after", resolved[name], "s")
    with way_to(deployed) as way:
        assert client.connect(way.host, way.port).get_collection("victim", embedding_function=None).count() == victim


def test_down_fires_and_resolves(deployed, prometheus, report):
    """A server that hangs: it is there, and does not answer."""
    fault = by_name("process-stop")
    injected = fault.inject(deployed)
    try:
        fault.prove(deployed, injected)
        began = time.monotonic()
        prometheus.wait_alerts(deployed.namespace, {"ChromaDown"}, firing=True, timeout=WITHIN)
        report.measure("ChromaDown fired after", time.monotonic() - began, "s")
    finally:
        fault.undo(deployed, injected)
    fault.prove_undone(deployed, injected)
    began = time.monotonic()
    prometheus.wait_alerts(deployed.namespace, {"ChromaDown", "ChromaCanaryFailing"}, firing=False, timeout=WITHIN)
    report.measure("ChromaDown resolved after", time.monotonic() - began, "s")


def test_every_query_of_the_dashboard_has_data(deployed, prometheus, report):
    board = next(
        json.loads(item["data"]["chromadb.json"])
        for item in of_kind(deployed.candidate.objects, "ConfigMap")
        if (item["metadata"].get("labels") or {}).get("grafana_dashboard") == "1"
    )
    queries = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }
    assert len(queries) > 20
    variables = {"$namespace": deployed.namespace, "$__rate_interval": "30s"}
    empty = {}
    for name, expression in queries.items():
        for variable, value in variables.items():
            expression = expression.replace(variable, value)  # noqa: PLW2901
        assert "$" not in expression, expression
        try:
            prometheus.wait_data(expression, timeout=120)
        except WaitTimeoutError:
            empty[name] = expression
    assert not empty
    report.measure("queries with data", len(queries))


def test_a_collector_that_is_away_is_told_and_disturbs_nobody(deployed, prometheus, seed, report):
    before = the_server(deployed)
    scale(deployed, "chromadb-collector", 0)
    try:
        prometheus.wait_alerts(deployed.namespace, {"ChromaMonitoringBlind"}, firing=True, timeout=WITHIN)
        fill(deployed, "unobserved", Values(seed + 1).take(200))
        with way_to(deployed) as way:
            there = client.connect(way.host, way.port).get_collection("unobserved", embedding_function=None)
            began = time.monotonic()
            for record in make_records("unobserved", Values(seed + 1).take(200))[:100]:
                assert there.get(ids=[record.id])["ids"] == [record.id]
            report.measure("read without a collector", (time.monotonic() - began) * 10, "ms")
    finally:
        scale(deployed, "chromadb-collector", 1)
    prometheus.wait_alerts(deployed.namespace, {"ChromaMonitoringBlind"}, firing=False, timeout=WITHIN)
    # What Chroma tells arrives again by itself.
    prometheus.wait_data(
        of(deployed, 'rate(chromadb_request_calls_total{http_route=~".*/query",%s}[30s]) > 0'), timeout=WITHIN
    )
    after = the_server(deployed)
    assert (after.uid, after.restarts) == (before.uid, before.restarts)


def test_network_policy_both_ways(deployed, report):
    cluster, namespace = deployed.cluster, deployed.namespace
    wanted = [
        inside.Wanted("stranger", namespace, {"app": "chroma-qualify-stranger"}),
        inside.Wanted("backend", namespace, {"app": "backend"}),
        # Answers everybody: what does not reach it is held back at its own end.
        inside.Wanted("listener", namespace, {"app": "chroma-qualify-listener"}, ports=(4317,)),
    ]
    stranger, backend, listener = inside.start(cluster, wanted)
    chroma = probes.side_door(cluster, namespace, the_server(deployed).pod)
    pods = cluster.get_json("pods", "-n", namespace)["items"]
    live = [pod for pod in pods if pod["status"].get("podIP") and not pod["metadata"].get("deletionTimestamp")]
    at = {pod["metadata"]["labels"].get("app"): pod["status"]["podIP"] for pod in live}
    ports = {
        "otlp": (at["chromadb-collector"], 4317),
        "metrics": (at["chromadb-collector"], 8889),
        "canary": (at["chromadb-canary"], 9110),
        "blackbox": (at["chromadb-blackbox"], 9115),
        "chroma": (at["chromadb"], 8000),
        "listener": (listener.ip, 4317),
    }
    targets = [probes.Target(name, "tcp", host, port) for name, (host, port) in ports.items()]
    sources = {"stranger": stranger, "backend": backend, "Chroma": chroma}
    open_ones = {"stranger": {"listener"}, "backend": {"listener", "chroma"}, "Chroma": {"otlp"}}
    asked = {
        # Chroma's own port is its own: nothing between.
        source: (pod, [one for one in targets if (source, one.name) != ("Chroma", "chroma")])
        for source, pod in sources.items()
    }

    def look():
        return {
            source: {name for name, result in found.items() if result.open}
            for source, found in probes.probe_all(asked).items()
        }

    # Policies are programmed some time after pods start.
    poll_for("the policies to hold, both ways", look, lambda seen: seen == open_ones, WITHIN)
    report.measure("right cells", sum(len(found) for _, found in asked.values()))
    inside.remove([stranger, backend, listener])


def way_to(deployed):
    return open_forward(
        deployed.cluster, deployed.namespace, deployed.candidate.service, deployed.candidate.service_port
    )


def fill(deployed, name, values):
    """A collection whose index is on the volume, for its `sync_threshold` is small."""
    with way_to(deployed) as way:
        server = client.connect(way.host, way.port)
        collection = client.create_collection(server, name, sync_threshold=50)
        return len(client.write(server, collection, make_records(name, values), batch=100))


@contextlib.contextmanager
def slow_queries(deployed, seed):
    """A server that gets a twentieth of a processor, and clients whose queries need more: 3 s each, or thereabouts."""
    many = [*vectors(Values(seed + 2).take(100))]
    done = threading.Event()

    def ask():
        while not done.is_set():
            with contextlib.suppress(Exception):  # a time-out of a server that is starved is what is wanted
                there = client.connect(way.host, way.port)
                busy = there.get_collection("busy", embedding_function=None)
                while not done.is_set():
                    busy.query(query_embeddings=many, n_results=10)

    fault = by_name("cpu-starvation")
    with way_to(deployed) as way, contextlib.ExitStack() as end:
        injected = fault.inject(deployed)
        end.callback(fault.prove_undone, deployed, injected)
        for number in range(CLIENTS):
            asking = threading.Thread(target=ask, name=f"slow queries {number}", daemon=True)
            asking.start()
            end.callback(asking.join, 90)
        end.callback(fault.undo, deployed, injected)
        end.callback(done.set)
        fault.prove(deployed, injected)
        yield


def wait_each(prometheus, deployed, names, *, firing):
    """Seconds until each alert was once seen firing, or once not even pending."""
    seconds, began = {}, time.monotonic()

    def look():
        there = prometheus.alerts(deployed.namespace)
        now = {alert.name for alert in there if alert.state == "firing" or not firing}
        for name in names - seconds.keys():
            if (name in now) == firing:
                seconds[name] = time.monotonic() - began
        return sorted(names - seconds.keys())

    verb = "fire" if firing else "resolve"
    poll_for(f"every alert to {verb} (those that did not yet are listed)", look, lambda left: not left, WITHIN, 0.5)
    return seconds


def scale(deployed, name, replicas):
    deployed.cluster.run_kubectl("scale", f"deployment/{name}", f"--replicas={replicas}", "-n", deployed.namespace)
    with deployed.cluster.api_client() as api:
        wait_for(
            f"{name} to have {replicas} replicas",
            kubernetes.client.AppsV1Api(api).list_namespaced_deployment,
            lambda found: (found[name].status.available_replicas or 0) == replicas,
            timeout=WITHIN,
            namespace=deployed.namespace,
            field_selector=f"metadata.name={name}",
        )
