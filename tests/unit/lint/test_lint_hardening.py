"""Rules on what a server that is broken into could do."""

import pytest
from lint_builders import assert_one, container, findings, meta, workload

from chroma_qualify.findings import Severity

DB = "Deployment/vector-db"
CONTEXT = "spec.template.spec.containers[0].securityContext"


def with_container(**context):
    return [workload(containers=[container(securityContext=context)])]


def with_pod(**context):
    return [workload(pod={"securityContext": context})]


@pytest.mark.parametrize(
    ("rule", "objects", "severity", "words", "path"),
    [
        (
            "runs-as-root",
            with_pod(runAsUser=None, runAsNonRoot=None),
            Severity.FAIL,
            "not set",
            f"{CONTEXT}.runAsUser",
        ),
        ("runs-as-root", with_pod(runAsUser=0), Severity.FAIL, "runAsUser: 0", None),
        ("runs-as-root", with_container(runAsUser=0), Severity.FAIL, "runAsUser: 0", None),
        (
            "root-writable",
            with_container(readOnlyRootFilesystem=None),
            Severity.NOTE,
            "not set",
            f"{CONTEXT}.readOnlyRootFilesystem",
        ),
        ("root-writable", with_container(readOnlyRootFilesystem=False), Severity.NOTE, "false", None),
        (
            "holds-capabilities",
            with_container(capabilities=None),
            Severity.NOTE,
            "drop: nothing",
            f"{CONTEXT}.capabilities",
        ),
        ("holds-capabilities", with_container(capabilities={"drop": ["NET_RAW"]}), Severity.NOTE, "NET_RAW", None),
        ("holds-capabilities", with_container(capabilities={"add": ["SYS_ADMIN"]}), Severity.NOTE, "SYS_ADMIN", None),
        (
            "new-privileges",
            with_container(allowPrivilegeEscalation=None),
            Severity.NOTE,
            "not set",
            f"{CONTEXT}.allowPrivilegeEscalation",
        ),
        ("new-privileges", with_container(allowPrivilegeEscalation=True), Severity.NOTE, "true", None),
        ("no-seccomp", with_pod(seccompProfile=None), Severity.NOTE, "not set", f"{CONTEXT}.seccompProfile"),
        ("no-seccomp", with_container(seccompProfile={"type": "Unconfined"}), Severity.NOTE, "Unconfined", None),
        ("privileged", with_container(privileged=True), Severity.FAIL, "privileged", f"{CONTEXT}.privileged"),
        (
            "host-namespaces",
            [workload(pod={"hostNetwork": True})],
            Severity.FAIL,
            "hostNetwork",
            "spec.template.spec.hostNetwork",
        ),
        ("host-namespaces", [workload(pod={"hostPID": True})], Severity.FAIL, "hostPID", None),
        (
            "service-account-token",
            [workload(pod={"automountServiceAccountToken": None})],
            Severity.NOTE,
            "default",
            "spec.template.spec.automountServiceAccountToken",
        ),
        ("service-account-token", [workload(pod={"automountServiceAccountToken": True})], Severity.NOTE, "true", None),
        (
            "fs-group-missing",
            with_pod(fsGroup=None),
            Severity.NOTE,
            "runAsUser: 1000",
            "spec.template.spec.securityContext.fsGroup",
        ),
    ],
)
def test_each_is_named(rule, objects, severity, words, path):
    assert_one(rule, objects, DB, words, severity=severity, path=path)


ACCOUNT = {"kind": "ServiceAccount", "metadata": meta("default"), "automountServiceAccountToken": False}
CHOWN = {"initContainers": [{"name": "own", "command": ["sh", "-c", "chown -R 1000 /data"]}]}


@pytest.mark.parametrize(
    ("rule", "objects"),
    [
        ("runs-as-root", with_pod(runAsUser=None)),  # runAsNonRoot is left, and the kubelet holds to it
        ("runs-as-root", with_pod(runAsNonRoot=None)),
        ("runs-as-root", with_container(runAsUser=999)),
        ("holds-capabilities", with_container(capabilities={"drop": ["all"]})),
        ("no-seccomp", [workload(pod={"securityContext": {"seccompProfile": {"type": "Localhost"}}})]),
        ("privileged", with_container(privileged=False)),
        ("host-namespaces", [workload(pod={"hostNetwork": False})]),
        ("service-account-token", [workload(pod={"automountServiceAccountToken": None}), ACCOUNT]),
        ("fs-group-missing", [workload(pod={"securityContext": {"fsGroup": None}, **CHOWN})]),
        ("fs-group-missing", with_pod(fsGroup=None, runAsUser=None, runAsNonRoot=None)),
        (
            "fs-group-missing",
            [
                workload(
                    pod={
                        "securityContext": {"fsGroup": None},
                        "volumes": [{"name": "store", "nfs": {}}, {"name": "scratch", "emptyDir": {}}],
                    }
                )
            ],
        ),
    ],
)
def test_near_misses(rule, objects):
    assert findings(rule, objects) == []


def test_others_containers_are_not_judged():
    side = {"name": "agent", "image": "agent:1", "securityContext": {"runAsUser": 0, "privileged": True}}
    objects = [workload(containers=[container(), side]), workload(name="web", containers=[{"image": "web:1"}])]
    assert findings("privileged", objects) + findings("runs-as-root", objects) == []


def test_a_claim_of_a_stateful_set_needs_a_group_too():
    objects = [
        workload(
            "StatefulSet",
            spec={"volumeClaimTemplates": [{"metadata": {"name": "store"}}]},
            pod={"securityContext": {"fsGroup": None}, "volumes": [{"name": "scratch", "emptyDir": {}}]},
        )
    ]
    assert_one("fs-group-missing", objects, "StatefulSet/vector-db", severity=Severity.NOTE)
