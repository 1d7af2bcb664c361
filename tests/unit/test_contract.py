"""pytest-kind's contract and the check of MANIFESTS, as far as they need no cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.plugin import contract
from chroma_qualify.plugin.contract import KindContract
from chroma_qualify.plugin.precheck import check


@pytest.fixture
def kind(tmp_path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\n[ "$1" = fail ] && exit 3\necho "$KUBECONFIG $*"; cat\n')
    kubectl.chmod(0o755)
    return KindContract(Cluster("cq-x", tmp_path / "kubeconfig", kubectl))


def test_kubectl_takes_what_check_output_takes(kind):
    assert kind.kubectl("get", "pods", input="in") == f"{kind.kubeconfig_path} get pods\nin"
    assert kind.kubectl("x", stdin=subprocess.DEVNULL) == f"{kind.kubeconfig_path} x\n"
    with pytest.raises(subprocess.CalledProcessError):
        kind.kubectl("fail")


def test_a_kubectl_that_is_gone_is_told(kind):
    kind.ensure_kubectl()
    kind.kubectl_path.unlink()
    with pytest.raises(InfraError, match="is not there"):
        kind.ensure_kubectl()


@pytest.mark.parametrize(
    ("name", "args", "asked"),
    [
        ("web", (), ("default", "pod/web")),
        ("pod/web", ("-n", "a"), ("a", "pod/web")),
        ("svc/web", ("-na",), ("a", "service/web")),
        ("service/web", ("--namespace=a",), ("a", "service/web")),
    ],
)
def test_port_forward_asks_as_kubectl_would(kind, monkeypatch, name, args, asked):
    seen = []

    class StopError(Exception):
        pass

    def open_forward(_cluster, *where, **how):
        seen.append((where, how))
        raise StopError

    monkeypatch.setattr(contract, "open_forward", open_forward)
    with pytest.raises(StopError), kind.port_forward(name, 80, *args, local_port=4711, retries=3):
        pass
    assert seen == [((*asked, 80), {"patience": 3.0, "local_port": 4711})]


@pytest.mark.parametrize(("name", "args"), [("deploy/web", ()), ("web", ("--address=0.0.0.0",)), ("web", ("-n",))])
def test_port_forward_refuses_what_it_would_ignore(kind, name, args):
    with pytest.raises(UsageError), kind.port_forward(name, 80, *args):
        pass


def test_create_refuses_a_configuration_that_it_would_ignore(kind):
    with pytest.raises(UsageError, match="the run makes the cluster itself"):
        kind.create("kind.yaml")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.yaml", "a: [\n", "a.yaml is broken YAML at line 2"),
        ("a.txt", "", "holds no YAML file"),
        ("a.yml", "a: 1\n", "is no Kubernetes object"),
        ("Kustomization", "resources: [\n", "Kustomization is broken YAML at line 2"),
        ("kustomization.yml", "- a\n", "is no kustomization"),
        ("kustomization.yaml", "resources: [nope.yaml]\n", "needs nope.yaml, which does not exist"),
    ],
)
def test_broken_manifests_are_told_without_kubectl(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=sentence):
        check(tmp_path, None)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "manifests" / "overlays").iterdir()), ids=lambda path: path.name
)
def test_our_own_manifests_pass_without_kubectl(path):
    check(path, None)
