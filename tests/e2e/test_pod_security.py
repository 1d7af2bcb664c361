"""Pod security as the running pod has it, read from the kernel, and as the namespace enforces it.

A manifest says what is asked for; /proc says what holds. The server's own process is looked at (not the shell or the
init in front of it alone): every process of the container must be as promised.
"""

import json

import pytest

from chroma_qualify.cluster.model import run as run_program
from chroma_qualify.deployment.apply import ready_pods
from chroma_qualify.errors import UnavailableError, UndecidedError

LOOK = r"""
import json, os, tempfile
def attempt(action):
    try:
        action()
        return "done"
    except OSError as error:
        return os.strerror(error.errno)
def write(path):
    with open(path, "x") as file:
        file.write("x")
    os.remove(path)
processes = {}
for number in filter(str.isdigit, os.listdir("/proc")):
    if int(number) == os.getpid():
        continue
    try:
        with open(f"/proc/{number}/status") as lines:
            processes[number] = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
    except FileNotFoundError:
        pass
print(json.dumps({
    "processes": processes,
    "root": attempt(lambda: write("/chroma-qualify-probe")),
    "usr": attempt(lambda: write("/usr/chroma-qualify-probe")),
    "tmp": attempt(lambda: write("/tmp/chroma-qualify-probe")),
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
}))
"""

NO_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@pytest.fixture
def seen(deploy):
    """What the Chroma container looks like from inside, with its pod's name."""
    deployed = deploy()
    pod = ready_pods(deployed)[0]
    place = ["-n", deployed.namespace, pod, "-c", deployed.candidate.container]
    done = deployed.cluster.run_kubectl("exec", *place, "--", "python3", "-c", LOOK, check=False)
    if done.returncode != 0:
        return pod, look_from_node(deployed, pod)
    return pod, json.loads(done.stdout)


def test_running_pod(seen, report, run):
    """As what is shipped promises; of somebody else's only that nothing runs as root: any other user will do."""
    pod, look = seen
    assert look["processes"], f"no process to be seen in {pod}"
    for rule, (what, remedy, seen_in) in findings_of(look["processes"], own=bool(run.options.manifests)).items():
        who = ", ".join(f"process {number} ({look['processes'][number]['Name']})" for number in seen_in)
        report.fail(rule, f"{who} of {pod}: {what}", evidence=seen_in, remedy=remedy)
    if "done" in {look["root"], look["usr"]}:
        report.fail("root-writable", f"{pod} can write to / or /usr", remedy="readOnlyRootFilesystem: true")
    elif {look["root"], look["usr"]} != {"Read-only file system"}:
        # Refused for another reason (a user who may not write there anyway) says nothing of the file system.
        where = f"/: {look['root']}; /usr: {look['usr']}"
        what = f"/ of {pod} is not read-only, only not its user's"
        report.fail("root-writable", what, evidence=where, remedy="readOnlyRootFilesystem: true")
    if look["tmp"] != "done":
        report.fail("no-writable-tmp", f"{pod} cannot write to /tmp, SQLite needs it", evidence=look["tmp"])
    if look["token"]:
        report.fail(
            "service-account-token",
            f"{pod} holds a service account token it has no use for",
            remedy="automountServiceAccountToken: false",
        )
    report.measure("processes looked at", len(look["processes"]))


def findings_of(processes, *, own):
    """Rule → what is wrong, what to change, and the processes with what was seen of each."""
    found = {}

    def note(number, rule, what, remedy, seen):
        found.setdefault(rule, (what, f"{remedy} in its securityContext", {}))[2][number] = seen

    wanted = "any but 0" if own else "1000"
    for number, status in processes.items():
        for field, rule, word in (("Uid", "runs-as-root", "User"), ("Gid", "runs-as-root-group", "Group")):
            ids = set(status[field].split())
            if "0" in ids if own else ids != {"1000"}:
                what = f"its {word[0]}ID is {', '.join(sorted(ids))}, promised is {wanted}"
                note(number, rule, what, f"runAs{word}: 1000", " ".join(status[field].split()))
        held = {field: status[field] for field in NO_CAPABILITIES if int(status[field], 16)}
        if held:
            note(number, "holds-capabilities", "it holds capabilities or could", "capabilities: {drop: [ALL]}", held)
        if status["NoNewPrivs"] != "1":
            what = "it may gain privileges (no_new_privs is off)"
            note(number, "new-privileges", what, "allowPrivilegeEscalation: false", status["NoNewPrivs"])
        if status["Seccomp"] != "2":
            what = "no seccomp filter holds"
            note(number, "no-seccomp", what, "seccompProfile: {type: RuntimeDefault}", status["Seccomp"])
    return found


@pytest.mark.own_namespaces("what the lent one enforces is for its owner to say")
def test_namespace_refuses_privileged(cluster, namespace, deploy, report, run):
    """The namespace enforces `restricted`: it admits the candidate and refuses what is not restricted."""
    if run.refused is not None:
        report.add(run.refused)
        return
    deploy()
    container = {"name": "probe", "image": "registry.k8s.io/pause:3.10"}
    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace}}
    privileged = {**plain, "spec": {"containers": [{**container, "securityContext": {"privileged": True}}]}}
    restricted_context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    restricted = {**plain, "spec": {"containers": [{**container, "securityContext": restricted_context}]}}
    almost = {**plain, "spec": {"containers": [{**container, "securityContext": {**restricted_context,
              "runAsNonRoot": False}}]}}  # fmt: skip

    admitted = dry_run(cluster, restricted)
    if admitted.returncode != 0:
        raise UndecidedError(f"the control, a restricted pod, is refused too: {admitted.stderr.strip()[-300:]}")
    for what, pod in {"a privileged pod": privileged, "a pod that may run as root": almost}.items():
        refused = dry_run(cluster, pod)
        assert refused.returncode != 0, f"{namespace} admits {what}"
        assert "violates PodSecurity" in refused.stderr, f"{what} is refused for another reason: {refused.stderr}"


def dry_run(cluster, pod):
    """Ask the API server, admission included, without creating anything."""
    return cluster.run_kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)


def look_from_node(deployed, pod):
    """For images without python3: the same, run by the node's python in the container's mount and PID namespaces.

    The node's own view of the container's processes; only where the node is ours.
    """
    found = deployed.cluster.get_json("pod", "-n", deployed.namespace, pod)
    node = next((node for node in deployed.cluster.nodes if node.name == found["spec"]["nodeName"]), None)
    if node is None:
        raise UnavailableError(
            f"the image of {pod} has no python3 and its node is not ours, so its processes cannot be looked at",
            remedy="use an image with python3, or our own kind cluster",
        )
    status = next(s for s in found["status"]["containerStatuses"] if s["name"] == deployed.candidate.container)
    return look_with_shell(deployed, node, status["containerID"].rpartition("/")[2])


SHELL_LOOK = r"""
pid=$(ctr -n k8s.io tasks ls | awk -v id="$1" '$1 == id {print $2}')
[ -n "$pid" ] || { echo "no task $1" >&2; exit 1; }
uid=$(awk '/^Uid:/{print $2}' /proc/$pid/status)
gid=$(awk '/^Gid:/{print $2}' /proc/$pid/status)
space=$(readlink /proc/$pid/ns/pid)
for p in /proc/[0-9]*; do
    [ "$(readlink $p/ns/pid 2>/dev/null)" = "$space" ] && echo "process ${p#/proc/}" && cat $p/status
done
mount_of() { awk -v at="$1" '$5 == at {print $6}' /proc/$pid/mountinfo | tail -1; }
echo "root $(mount_of /)"
as_server() { setpriv --reuid $uid --regid $gid --clear-groups "$@"; }
echo "tmp $(mount_of /tmp) $(as_server test -w /proc/$pid/root/tmp && echo may-write)"
[ -e /proc/$pid/root/var/run/secrets/kubernetes.io/serviceaccount/token ] && echo token
true
"""


def look_with_shell(deployed, node, container):
    """Parse what SHELL_LOOK prints into the shape of LOOK's answer."""
    said = run_program(["docker", "exec", node.name, "sh", "-c", SHELL_LOOK, "look", container]).stdout
    processes, current, look = {}, None, {"token": False}
    for line in said.splitlines():
        word, _, rest = line.partition(" ")
        if word == "process":
            current = processes.setdefault(rest, {})
        elif word == "root":
            look["root"] = look["usr"] = "Read-only file system" if "ro" in rest.split(",") else "done"
        elif word == "tmp":
            options, _, may = rest.partition(" ")
            look["tmp"] = (
                "done" if "rw" in options.split(",") and may == "may-write" else f"mounted {rest or 'not at all'}"
            )
        elif line == "token":
            look["token"] = True
        elif current is not None and ":\t" in line:
            field, value = line.split(":\t", 1)
            current[field] = value
    return {"processes": processes, **look}
