"""Pod security as the running pod has it, read from the kernel, and as the namespace enforces it.

A manifest says what is asked for; /proc says what holds. The server's own process is looked at (not the shell or the
init in front of it alone): every process of the container must be as promised.
"""

import json

import pytest

from chroma_qualify.cluster.model import run as run_program
from chroma_qualify.deployment.apply import ready_pods
from chroma_qualify.errors import UndecidedError

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


def test_running_pod(seen, report):
    pod, look = seen
    assert look["processes"], f"no process to be seen in {pod}"
    for number, status in look["processes"].items():
        who = f"process {number} ({status['Name']}) of {pod}"
        for field, rule, word in (("Uid", "runs-as-root", "UID"), ("Gid", "runs-as-root-group", "GID")):
            if set(status[field].split()) != {"1000"}:
                report.fail(rule, f"{who} has {word} {status[field].split()}, promised is 1000", evidence=status[field])
        held = {field: status[field] for field in NO_CAPABILITIES if int(status[field], 16)}
        if held:
            report.fail("holds-capabilities", f"{who} holds capabilities or could", evidence=held)
        if status["NoNewPrivs"] != "1":
            report.fail("new-privileges", f"{who} may gain privileges (no_new_privs is off)")
        if status["Seccomp"] != "2":
            report.fail("no-seccomp", f"{who} runs without a seccomp filter", evidence=f"Seccomp: {status['Seccomp']}")
    for where in ("root", "usr"):
        if look[where] == "done":
            report.fail("root-writable", f"{pod} can write to / or /usr", remedy="readOnlyRootFilesystem: true")
        elif look[where] != "Read-only file system":
            # Refused for another reason (UID 1000 may not write there anyway) says nothing of the file system.
            report.fail("root-writable", f"/ of {pod} is not read-only, only not ours", evidence=look[where])
    if look["tmp"] != "done":
        report.fail("no-writable-tmp", f"{pod} cannot write to /tmp, SQLite needs it", evidence=look["tmp"])
    if look["token"]:
        report.fail("service-account-token", f"{pod} holds a service account token it has no use for")
    report.measure("processes looked at", len(look["processes"]))


def test_namespace_refuses_privileged(cluster, namespace, deploy):
    """The namespace enforces `restricted`: it admits the candidate and refuses what is not restricted."""
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
        raise UndecidedError(
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
