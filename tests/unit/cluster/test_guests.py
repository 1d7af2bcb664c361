"""Leases of runs in clusters that are not ours, and what tells their objects from others."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import yaml

from chroma_qualify.cluster import guests
from chroma_qualify.cluster.existing import Context
from chroma_qualify.cluster.model import Guest, labelled
from chroma_qualify.cluster.rights import Right, _covers, read_rights

ROLES = Path(__file__).parents[3] / "manifests" / "rbac"
NOWHERE = "https://127.0.0.1:1"


@pytest.fixture
def context(tmp_path, monkeypatch):
    """One whose API server refuses connections; kubectl is a program that says what it was asked and fails."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    programs = tmp_path / "bin"
    programs.mkdir()
    kubectl = programs / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ -e {tmp_path}/away ] && exit 1\n'
                       f'[ "$2" = get ] && cat {tmp_path}/there 2>/dev/null\nexit 0\n')  # fmt: skip
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    document = {"contexts": [], "clusters": [{"cluster": {"server": NOWHERE}}], "users": []}
    return Context("theirs", NOWHERE, (tmp_path / "gone",), document)


def die(run_id):
    """As after `kill -9` of the owner."""
    path = guests.guest_dir(run_id) / "lease.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "started": 1}))


def test_what_a_living_run_uses_is_left_alone(context, tmp_path):
    cluster = guests.enter(context, Guest("r-1"), loader="")
    assert cluster.nodes == ()
    assert guests.sweep_guests(print) == []
    assert not (tmp_path / "asked").exists()
    guests.leave("r-1")
    assert guests.read_guests() == []


def test_a_dead_runs_namespaces_go_by_its_label_and_then_its_lease(context, tmp_path):
    guests.enter(context, Guest("r-1"), loader="")
    die("r-1")
    (tmp_path / "there").write_text("namespace/cq-a-1\n")
    assert guests.sweep_guests(print, server="https://another") == []
    assert guests.sweep_guests(print, server=NOWHERE) == ["namespace/cq-a-1 in theirs"]
    looked, deleted = (tmp_path / "asked").read_text().splitlines()
    assert "get namespaces --selector chroma-qualify/run=r-1" in looked
    assert "delete namespaces --selector chroma-qualify/run=r-1" in deleted
    assert guests.read_guests() == []


def test_in_a_lent_namespace_only_its_objects_go(context, tmp_path):
    guests.enter(context, Guest("r-1", "theirs", kinds=("pods", "secrets")), loader="")
    die("r-1")
    (tmp_path / "there").write_text("pod/a\n")
    guests.sweep_guests(print)
    deleted = (tmp_path / "asked").read_text().splitlines()[-1]
    assert "delete pods,secrets --selector chroma-qualify/run=r-1 --namespace=theirs" in deleted


def test_what_cannot_be_deleted_now_is_said_and_tried_again(context, tmp_path):
    guests.enter(context, Guest("r-1"), loader="")
    die("r-1")
    (tmp_path / "away").touch()
    said = []
    assert guests.sweep_guests(said.append) == []
    assert "run r-1 left something in theirs that cannot be deleted now" in said[0]
    assert [lease.run for lease in guests.read_guests()] == ["r-1"]


def test_a_lease_that_cannot_be_read_is_nobodys_to_sweep(context):
    guests.enter(context, Guest("r-1"), loader="")
    (guests.guest_dir("r-1") / "lease.json").write_text("{")
    assert guests.read_guests() == []
    assert guests.guest_dir("r-1").exists()


def test_every_object_and_claim_template_gets_the_runs_label():
    text = yaml.safe_dump_all(
        [
            {"kind": "StatefulSet", "metadata": {"name": "a", "labels": {"x": "y"}},
             "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}], "template": {"metadata": {}}}},
            {"kind": "List", "items": [{"kind": "Pod", "metadata": {"name": "b"}}]},
        ]
    )  # fmt: skip
    first, second = yaml.safe_load_all(labelled(text, "r-1"))
    label = {"chroma-qualify/run": "r-1"}
    assert first["metadata"]["labels"] == {"x": "y", **label}
    assert first["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"] == label
    assert first["spec"]["template"] == {"metadata": {}}, "what selectors look at stays as it is"
    assert second["items"][0]["metadata"]["labels"] == label


def test_both_role_files_give_the_same_rights_in_a_namespace():
    lent = read_rights(ROLES / "run-role.yaml", "Role")
    documents = list(yaml.safe_load_all((ROLES / "run-cluster.yaml").read_text()))
    run, spaces = (item for item in documents if item["kind"] == "ClusterRole")
    role = next(item for item in yaml.safe_load_all((ROLES / "run-role.yaml").read_text()) if item["kind"] == "Role")
    assert run["rules"] == role["rules"]
    assert len(set(lent)) == len(lent)
    assert not any("*" in dataclasses.astuple(right) for right in lent)
    # Nothing else is bound in the whole cluster.
    bound = [item["roleRef"]["name"] for item in documents if item["kind"] == "ClusterRoleBinding"]
    assert bound == [spaces["metadata"]["name"]]
    assert {resource for rule in spaces["rules"] for resource in rule["resources"]} == {
        "namespaces", "rolebindings", "clusterroles", "storageclasses",
    }  # fmt: skip


class Rule:
    def __init__(self, groups, resources, verbs, names=None):
        self.api_groups, self.resources, self.verbs, self.resource_names = groups, resources, verbs, names


@pytest.mark.parametrize(
    ("rule", "right", "covered"),
    [
        (Rule([""], ["pods"], ["get"]), Right("", "pods", "get"), True),
        (Rule([""], ["pods"], ["get"]), Right("", "pods/log", "get"), False),
        (Rule([""], ["*/log"], ["get"]), Right("", "pods/log", "get"), True),
        (Rule(["*"], ["*"], ["*"]), Right("apps", "deployments", "patch"), True),
        (Rule([""], ["pods"], ["get"]), Right("apps", "pods", "get"), False),
        (Rule([""], ["pods"], ["list"]), Right("", "pods", "get"), False),
        (Rule([""], ["pods"], ["get"], ["one"]), Right("", "pods", "get"), False),
        (Rule([""], ["pods"], ["get"], ["one"]), Right("", "pods", "get", "one"), True),
    ],
)
def test_a_rule_covers_a_right_or_not(rule, right, covered):
    assert _covers(rule, right) is covered
