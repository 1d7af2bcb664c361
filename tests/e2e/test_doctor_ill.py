"""What keeps Chroma from starting, and a volume that fills up, are caused on purpose, and the doctor names each.

They are tried side by side, each in a namespace of its own, on the topology that is qualified by default. The control
of what cannot start is in test_doctor.py; that of the volume is the same volume while there is room.
"""

import contextlib
import copy
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from doctor_command import changed, chroma_container, doctor, template, until

from chroma_qualify.deployment.apply import apply, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.render import in_namespace
from chroma_qualify.deployment.volume import drop_volume, provide_volume
from chroma_qualify.errors import CandidateError
from chroma_qualify.faults.volume_full import VolumeFull
from chroma_qualify.plugin.namespaces import fresh_namespace

pytestmark = [
    pytest.mark.beside,
    pytest.mark.own_cluster("it fills a volume on a node, and a volume is in no namespace"),
]

RUNS_WITHIN = 300.0  # s, on a machine that others use as well
SAID_WITHIN = 60.0  # s; conditions and events come one by one
FIGURES_WITHIN = 300.0  # s; the kubelet measures volumes once a minute
AT_A_TIME = 4


def no_storage_class(kinds, _):
    kinds["PersistentVolumeClaim"]["spec"]["storageClassName"] = "no-such-class"


def no_image(kinds, _):
    chroma_container(kinds)["image"] = "chromadb/chroma:0.0.0-no-such-image"
    chroma_container(kinds)["imagePullPolicy"] = "Never"


def no_secret(kinds, _):
    template(kinds)["volumes"].append({"name": "token", "secret": {"secretName": "no-such-secret"}})
    chroma_container(kinds)["volumeMounts"].append({"name": "token", "mountPath": "/run/token"})


def service_links(kinds, objects):
    del template(kinds)["enableServiceLinks"]
    service = copy.deepcopy(kinds["Service"])
    service["metadata"]["name"] = "chroma"
    objects.insert(0, service)  # before the pod, or it does not see it


def no_tmp(kinds, _):
    mounts = chroma_container(kinds)["volumeMounts"]
    mounts[:] = [mount for mount in mounts if mount["mountPath"] != "/tmp"]


def not_admitted(kinds, _):
    chroma_container(kinds)["securityContext"]["allowPrivilegeEscalation"] = True


def loopback(kinds, _):
    chroma_container(kinds)["env"].append({"name": "CHROMA_LISTEN_ADDRESS", "value": "127.0.0.1"})


def v1_probes(kinds, _):
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        chroma_container(kinds)[probe]["httpGet"]["path"] = "/api/v1/heartbeat"


# What is done → issue, rule, what the sentence must name, what the remedy must
ILL = {
    no_storage_class: ("pod not starting", "pvc-pending", "no StorageClass named no-such-class", "StorageClass"),
    no_image: ("pod not starting", "image-pull", "chroma:0.0.0-no-such-image cannot be pulled", "name an image"),
    no_secret: ("pod not starting", "secret-missing", "needs Secret no-such-secret", "create Secret"),
    service_links: ("pod not starting", "service-links", "CHROMA_PORT=tcp://", "enableServiceLinks: false"),
    no_tmp: ("pod not starting", "no-writable-tmp", "SQLite finds no directory", "emptyDir on /tmp"),
    not_admitted: ("pod not starting", "not-admitted", "violates PodSecurity", "pod template"),
    loopback: ("connection refused", "loopback-only", "listens on 127.0.0.1 only", "0.0.0.0"),
    v1_probes: ("connection refused", "probe-v1-api", "/api/v1/heartbeat is answered 410", "/api/v2/heartbeat"),
}
NEVER_SAID = {loopback}  # not certain to who waits
NAMES = [change.__name__ for change in ILL]


@pytest.fixture(scope="module")
def own_topology(run):
    if run.options.manifests:
        pytest.skip("it makes deployments of its own ill, not the candidate")


@pytest.fixture(scope="module")
def place(own_topology, run, cluster, observer, request):
    """`place(words)`: a namespace for as long as the block lasts."""
    return lambda words: fresh_namespace(run, cluster, observer, request.node, words)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield pool


@pytest.fixture(scope="module")
def filling(place, pool, cluster, candidate):
    """What the doctor says while a volume fills up; it mostly waits for the kubelet, and goes on beside the others."""
    if not cluster.nodes:
        return None

    def fill():
        with place("full") as namespace:
            return fill_up(cluster, in_namespace(changed(candidate("single-writer")), namespace), namespace)

    return pool.submit(fill)


@pytest.fixture(scope="module")
def looks(filling, place, pool, cluster, candidate):
    """What the doctor says of each of ILL; they come up side by side."""

    def attempt(change):
        with place(change.__name__) as namespace:
            ill = changed(candidate("single-writer"), change)
            deployed = apply(cluster, in_namespace(ill, namespace), namespace)
            if change in NEVER_SAID:
                until("the server runs", lambda: runs(deployed), RUNS_WITHIN)
                return look_at(namespace, cluster.kubeconfig, change)
            with contextlib.suppress(CandidateError):
                wait_ready(deployed, timeout=RUNS_WITHIN)
                return None  # it got ready
            return look_at(namespace, cluster.kubeconfig, change)

    return {change.__name__: pool.submit(attempt, change) for change in ILL}


def look_at(namespace, kubeconfig, change):
    """What the doctor says when Kubernetes has told all: a look that comes too early is taken again."""
    _, rule, words, _ = ILL[change]
    began = time.monotonic()
    while True:
        look = doctor(namespace, kubeconfig)
        named = look.told and rule in look.rules and words in look.of(rule)["message"]
        if named or time.monotonic() - began > SAID_WITHIN:
            return look
        time.sleep(2)


@pytest.mark.parametrize("change", ILL, ids=NAMES)
def test_what_cannot_start_is_named_with_its_remedy(change, looks):
    look = looks[change.__name__].result()
    assert look is not None, "it got ready: the fault has no proof"
    issue, rule, words, remedy = ILL[change]
    assert rule in look.rules, look
    found = look.of(rule)
    assert (look.code, found["issue"]) == (1, issue)
    assert words in found["message"]
    assert remedy in found["remedy"]


def runs(deployed):
    pods = deployed.cluster.get_json("pods", f"--namespace={deployed.namespace}")["items"]
    return any("running" in item["state"] for pod in pods for item in pod["status"].get("containerStatuses", ()))


def fill_up(cluster, candidate, namespace):
    """Deploy on a small volume, fill it, make room, restart; what the doctor said on the way."""
    volume = provide_volume(cluster, candidate, namespace, mebibytes=64, measured=True)
    try:
        deployed = apply(cluster, candidate, namespace)
        wait_ready(deployed, timeout=RUNS_WITHIN)
        collection = create(deployed)
        said = {"well": doctor(namespace, cluster.kubeconfig)}
        fault = VolumeFull("volume-full")
        injected = fault.inject(deployed)
        fault.prove(deployed, injected)
        if logs_that_it_is_full(deployed, collection):
            said["logged"] = doctor(namespace, cluster.kubeconfig)
        until("the kubelet measures the full volume", lambda: free(deployed) in range(2**20), FIGURES_WITHIN)
        said["measured"] = doctor(namespace, cluster.kubeconfig)
        fault.undo(deployed, injected)
        cluster.run_kubectl("rollout", "restart", candidate.name, f"--namespace={namespace}")
        wait_ready(deployed, timeout=RUNS_WITHIN)
        return said | {"restarted": doctor(namespace, cluster.kubeconfig)}
    finally:
        drop_volume(volume)


@contextlib.contextmanager
def collections(deployed):
    """The address of Chroma's collections, by a forward."""
    candidate = deployed.candidate
    with open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port) as way:
        yield f"http://{way.host}:{way.port}/api/v2/tenants/default_tenant/databases/default_database/collections"


def create(deployed):
    """A collection with a record: Chroma logs why a later write fails, and not always why the first one does."""
    with collections(deployed) as place:
        made = httpx.post(place, json={"name": "doctor"}, timeout=120).raise_for_status().json()
        httpx.post(f"{place}/{made['id']}/add", json=record("first"), timeout=120).raise_for_status()
    return made["id"]


def record(name):
    return {"ids": [name], "embeddings": [[1.0] * 384], "documents": ["x" * 20_000]}


def logs_that_it_is_full(deployed, collection):
    """Write on a full volume until Chroma's log says so; False where no write is answered, as may be."""
    with collections(deployed) as place, contextlib.suppress(httpx.ReadTimeout):
        for number in range(5):
            answer = httpx.post(f"{place}/{collection}/add", json=record(str(number)), timeout=30)
            assert answer.status_code >= 500, "it was written: the fault has no proof"
    words = ("logs", deployed.candidate.name, f"--namespace={deployed.namespace}")
    return "database or disk is full" in deployed.cluster.run_kubectl(*words).stdout


def free(deployed):
    """Bytes that are free on the volume as the kubelet last measured, or None."""
    cluster = deployed.cluster
    node = cluster.get_json("pods", f"--namespace={deployed.namespace}")["items"][0]["spec"]["nodeName"]
    stats = json.loads(cluster.run_kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary").stdout)
    volumes = [
        item
        for pod in stats["pods"]
        for item in pod.get("volume", [])
        if item.get("pvcRef", {}).get("namespace") == deployed.namespace
    ]
    return min((item["availableBytes"] for item in volumes if "availableBytes" in item), default=None)


@pytest.fixture
def full(filling):
    if filling is None:
        pytest.skip("the nodes of an existing cluster cannot be entered to make a volume that can be filled")
    return filling.result()


def test_a_full_volume_is_named_with_its_remedy(full):
    assert (full["well"].code, full["well"].rules) == (0, set()), full["well"]
    for when, words in (("logged", "database or disk is full"), ("measured", "bytes are free")):
        if when not in full:
            continue
        assert (full[when].code, full[when].rules) == (1, {"volume-full"}), (when, full[when])
        found = full[when].of("volume-full")
        assert found["issue"] == "storage full"
        assert words in found["evidence"]
        assert "enlarge the claim" in found["remedy"]
        assert "restart the server before anything else is written" in found["remedy"]


def test_a_volume_with_room_after_a_restart_is_left_in_peace(full):
    assert (full["restarted"].code, full["restarted"].rules) == (0, set()), full["restarted"]
