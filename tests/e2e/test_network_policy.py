"""Who reaches Chroma and whom Chroma reaches, as a truth table with live controls.

Promised (the seed, section Network Policies): in come backend pods and monitoring only; out go DNS and HTTPS only.
Every probe is sent from a pod; never from the node, which always reaches its own pods. Chroma's own probes come from an
ephemeral container in the real pod (see load.probes). Controls, probed together with the cells:

- `target`, a pod without policies elsewhere, answers a stranger on 443 and 8080: a closed cell is not a dead target;
- `fenced` admits `target` only, `caged` may reach nobody: if a stranger gets in or `caged` gets out, nothing here
  enforces policies, and no cell means anything;
- every source that asks for Chroma asks for `target` too: one that gets nowhere proves nothing.
"""

import dataclasses
import json
import time

import pytest

from chroma_qualify.deployment.apply import create_namespace, delete_namespace, ready_pods
from chroma_qualify.errors import InfraError, UnavailableError, UndecidedError
from chroma_qualify.load import inside, peers, probes
from chroma_qualify.load.truth_table import Cell, Control, Judgement, as_matrix, picture, settled

pytestmark = [
    pytest.mark.alone,  # it has pods in the namespace that monitoring has its own in
    pytest.mark.own_namespaces("strangers come from other ones"),
]

SETTLE = 180.0  # s; policies are programmed some time after pods start
OTHER_PORT = 8080
DNS_NAME = "kubernetes.default.svc.cluster.local"
STRANGER = {"app": "chroma-qualify-stranger"}


def test_truth_table(deploy, report, run_dir, elsewhere):
    deployed = deploy()
    cluster, namespace, candidate = deployed.cluster, deployed.namespace, deployed.candidate
    pod = ready_pods(deployed)[0]
    backend, monitoring = peers.backend(candidate), peers.monitoring(candidate)
    bare = not peers.policies(candidate)
    for name, peer in {"backend": backend, "monitoring": monitoring}.items():
        if peer is None and not bare:
            report.fail(f"policy-no-{name}", f"no ingress rule admits a {name} pod", remedy="see the seed's promise")

    other = elsewhere({})
    wanted = {
        "a stranger in the namespace": inside.Wanted("stranger", namespace, STRANGER),
        "a stranger in another namespace": inside.Wanted("stranger", other, STRANGER),
        "target": inside.Wanted("target", other, {"chroma-qualify/role": "target"}, ports=(443, OTHER_PORT)),
        "fenced": inside.Wanted("fenced", other, {"chroma-qualify/role": "fenced"}, ports=(OTHER_PORT,)),
        "caged": inside.Wanted("caged", other, {"chroma-qualify/role": "caged"}),
    }
    if backend is not None:
        home = namespace if backend.namespace_labels is None else elsewhere(backend.namespace_labels)
        wanted["backend"] = inside.Wanted("backend", home, backend.pod_labels)
        if backend.pod_labels and backend.namespace_labels is None:
            name = "a pod with the backend's label in another namespace"
            wanted[name] = inside.Wanted("impostor", other, backend.pod_labels)
    if monitoring is not None:
        try:
            home = namespace if monitoring.namespace_labels is None else elsewhere(monitoring.namespace_labels)
        except UnavailableError as error:  # the rest of the table is worth having
            report.note("monitoring-not-tried", f"whether monitoring gets in was not tried: {error.message}")
        else:
            wanted["monitoring"] = inside.Wanted("monitoring-probe", home, monitoring.pod_labels)
    inside.apply(cluster, control_policies(other))
    places = dict(zip(wanted, inside.start(cluster, list(wanted.values())), strict=True))
    places["Chroma"] = probes.side_door(cluster, namespace, pod)

    begin = time.monotonic()
    questions = questions_for(deployed, pod, places)
    rounds = right = 0
    # Until right twice running: a CNI that is still at work may open late what was closed early. Each round takes as
    # long as its denied probes time out, so this does not spin.
    while True:
        seen = probes.probe_all(questions)
        rounds += 1
        cells = table(seen)
        # Without a policy nothing will ever be as promised: it is enough to know what is.
        known = all(cell.judge() is not Judgement.UNDECIDED for cell in cells) if bare else settled(cells)
        right = right + 1 if known else 0
        if right == 2 or time.monotonic() - begin > SETTLE:
            break
    report.measure("policies settled", time.monotonic() - begin, "s")
    report.measure("right cells", sum(cell.judge() is Judgement.RIGHT for cell in cells), f"of {len(cells)}")
    report.matrix("who may reach what", *as_matrix(cells))
    write(run_dir / "policy.json", cells, seen, rounds)
    if bare and (open_to := [cell for cell in cells if cell.judge() is Judgement.WRONG]):
        report.fail(  # once: what is open follows from it
            "policy-missing",
            "no NetworkPolicy selects the Chroma pods, so whoever asks gets in, and Chroma gets out: "
            + "; ".join(f"{cell.source} to {cell.target}" for cell in open_to),
            evidence=picture(cells),
            remedy="add a NetworkPolicy for these pods: whom it does not name is kept out",
        )
        cells = [cell for cell in cells if cell not in open_to]
    judge(report, cells)


def questions_for(deployed, pod, places):
    """Who asks what: {source: (pod, targets)}."""
    cluster, namespace, candidate = deployed.cluster, deployed.namespace, deployed.candidate
    address = cluster.get_json("service", "-n", namespace, candidate.service)["spec"]["clusterIP"]
    direct = cluster.get_json("pod", "-n", namespace, pod)["status"]["podIP"]
    chroma = [probes.Target("pod", "http", direct, candidate.container_port, "/api/v2/heartbeat")]
    if address != "None":  # a headless Service has no address of its own
        chroma += [probes.Target("service", "http", address, candidate.service_port, "/api/v2/heartbeat")]
    https = probes.Target("https", "tcp", places["target"].ip, 443)
    other = probes.Target("other", "tcp", places["target"].ip, OTHER_PORT)
    fenced = probes.Target("fenced", "tcp", places["fenced"].ip, OTHER_PORT)
    dns = probes.Target("dns", "dns", DNS_NAME, 53)
    strangers = {name: place for name, place in places.items() if name not in {"target", "fenced", "caged"}}
    asked = {source: (place, [*chroma, https]) for source, place in strangers.items()}
    asked["a stranger in another namespace"] = (
        places["a stranger in another namespace"],
        [*chroma, https, other, fenced, dns],
    )
    asked["target"] = (places["target"], [fenced])
    asked["caged"] = (places["caged"], [https, dns])
    asked["Chroma"] = (places["Chroma"], [https, other, dns])
    return asked


def table(seen):
    """The cells, from what was seen in one round."""

    def outcomes(source, *targets):
        return tuple(seen[source][target].outcome for target in targets if target in seen.get(source, {}))

    stranger = "a stranger in another namespace"
    enforced = [
        Control("a fence keeps a stranger out", False, outcomes(stranger, "fenced")),
        Control("a fence lets its friend in", True, outcomes("target", "fenced")),
        Control("a cage lets nobody out", False, outcomes("caged", "https", "dns")),
    ]
    admitted = [outcomes(source, "pod", "service") for source in ("backend", "monitoring") if source in seen]
    # Chroma itself answers somebody at this time: closed is then the policy's work.
    alive = Control(
        "Chroma answers whom it admits", True, next((each for each in admitted if "open" in each), ("none",))
    )
    https_alive = Control("the HTTPS target answers a stranger", True, outcomes(stranger, "https"))
    other_alive = Control("the other port answers a stranger", True, outcomes(stranger, "other"))
    dns_alive = Control("DNS answers a stranger", True, outcomes(stranger, "dns"))

    cells = []
    for source in seen:
        if source in {"Chroma", "target", "caged"}:
            continue
        expected = source in {"backend", "monitoring"}
        found = outcomes(source, "pod", "service")
        controls = tuple(enforced) if expected else (*enforced, alive)
        if "open" not in found:  # an answer from Chroma is itself a sign of life
            controls += (Control(f"{source} reaches a target that is open to all", True, outcomes(source, "https")),)
        cells.append(Cell(source, "Chroma", expected, found, controls))
    cells += [
        Cell("Chroma", "DNS", True, outcomes("Chroma", "dns"), (*enforced, dns_alive)),
        Cell("Chroma", "HTTPS", True, outcomes("Chroma", "https"), (*enforced, https_alive)),
        Cell("Chroma", f"port {OTHER_PORT}", False, outcomes("Chroma", "other"), (*enforced, other_alive)),
    ]
    return cells


def judge(report, cells):
    """Each wrong or undecided cell is a finding."""
    rules = {(True, True): "egress-blocked", (True, False): "egress-open",
             (False, True): "ingress-blocked", (False, False): "ingress-open"}  # fmt: skip
    if all(cell.judge() is Judgement.UNDECIDED for cell in cells):
        failed = {control.name for cell in cells for control in cell.controls if not control.holds}
        raise UndecidedError(
            f"the cluster is not known to enforce NetworkPolicy: {'; '.join(sorted(failed))}",
            remedy="use a CNI that enforces policies",
            evidence=picture(cells),
        )
    for cell in cells:
        if cell.judge() is Judgement.WRONG:
            rule = f"policy-{rules[cell.source == 'Chroma', cell.expected]}"
            report.fail(rule, cell.explain(), evidence=picture(cells))
        elif cell.judge() is Judgement.UNDECIDED:
            report.unknown("policy-undecided", cell.explain(), evidence=picture(cells))


def write(path, cells, seen, rounds):
    """The matrix for the run directory."""
    probed = {source: {name: dataclasses.asdict(result) for name, result in found.items()}
              for source, found in seen.items()}  # fmt: skip
    path.write_text(json.dumps({"cells": [cell.row() for cell in cells], "probes": probed, "rounds": rounds}, indent=1))


def control_policies(namespace):
    """A fence around `fenced` with one gate, and a cage around `caged`."""

    def policy(role, spec):
        select = {"podSelector": {"matchLabels": {"chroma-qualify/role": role}}}
        metadata = {"name": role, "namespace": namespace}
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata,
                "spec": {**select, **spec}}  # fmt: skip

    gate = {"from": [{"podSelector": {"matchLabels": {"chroma-qualify/role": "target"}}}]}
    return [
        policy("fenced", {"policyTypes": ["Ingress"], "ingress": [gate]}),
        policy("caged", {"policyTypes": ["Egress"]}),
    ]


@pytest.fixture
def elsewhere(cluster, namespace, observer, run, request):
    """`elsewhere(labels)`: another namespace that carries these labels, for this scenario only.

    One that is asked for by its name is shared: another scenario may have its own pods in it at any time. It is left
    there, without our pods.
    """
    created, shared = [], []
    own = cluster.get_json("namespace", namespace)["metadata"]["labels"]

    def make(labels):
        # This label is the namespace's name and cannot be chosen: who asks for it asks for that very namespace.
        name = labels.get(peers.NAME_LABEL) or f"{namespace}-{len(created) + 1}"
        if cluster.guest is not None and name not in {namespace, f"{namespace}-{len(created) + 1}"}:
            raise UnavailableError(f"the policy admits pods of the namespace {name}, which is not ours to put any in")
        if name == namespace:
            return name
        (shared if peers.NAME_LABEL in labels else created).append(name)
        if inside.namespace_exists(cluster, name):
            return name
        kept = {key: value for key, value in own.items() if key != peers.NAME_LABEL}
        try:
            create_namespace(cluster, name, {**kept, **{k: v for k, v in labels.items() if k != peers.NAME_LABEL}})
        except InfraError:
            if name not in shared or not inside.namespace_exists(cluster, name):  # somebody else was quicker
                raise
        observer.follow(name)
        return name

    yield make
    failed = run.failed(request.node.nodeid)
    for name in shared:
        pods = ["monitoring-probe", "backend", "--ignore-not-found", "--wait=false"]
        cluster.run_kubectl("delete", "pod", "--namespace", name, *pods)
    for name in created:
        try:
            if failed:
                observer.collect(name)
        finally:
            if not (failed and run.options.keep):  # then it is there to be looked at, as the scenario's own
                delete_namespace(cluster, name, wait=False)
