"""What kind is told, and what is saved when it fails."""

from __future__ import annotations

import time

import pytest
import yaml

from chroma_qualify.cluster.evidence import collect_nodes
from chroma_qualify.cluster.kind import ClusterConfig, kind_config, write_patches


def patches(text: str) -> dict[str, dict]:
    return {patch["kind"]: patch for patch in map(yaml.safe_load, yaml.safe_load(text)["kubeadmConfigPatches"])}


@pytest.mark.parametrize(("cgroup", "patch"), [(1, {"failCgroupV1": False}), (2, {})])
def test_the_kubelet_accepts_cgroup_1_only_where_there_is_no_other(cgroup, patch):
    kubelet = patches(kind_config(ClusterConfig(), cgroup=cgroup))["KubeletConfiguration"]
    assert {key: value for key, value in kubelet.items() if key == "failCgroupV1"} == patch


@pytest.mark.parametrize("workers", [0, 2])
def test_nodes_and_network(workers):
    config = yaml.safe_load(kind_config(ClusterConfig(workers=workers), cgroup=2))
    assert [node["role"] for node in config["nodes"]] == ["control-plane"] + ["worker"] * workers
    assert config["networking"]["disableDefaultCNI"] is True


def fake_docker(directory, monkeypatch, script):
    directory.mkdir(exist_ok=True)
    (directory / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_evidence_of_each_node_is_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script = 'case $1 in ps) echo n1; echo n2;; *) echo "$@"; echo broken >&2; exit 3;; esac'
    fake_docker(tmp_path / "bin", monkeypatch, script)
    collect_nodes("cq-x", tmp_path / "logs" / "cluster")
    saved = {path.name: path.read_text() for path in (tmp_path / "logs" / "cluster").iterdir()}
    assert {f"{node}.{kind}" for node in ("n1", "n2") for kind in ("log", "kubelet.log")} <= set(saved)
    assert saved["n1.log"].startswith("logs ")
    assert "exec n2 journalctl" in saved["n2.kubelet.log"]
    assert all("broken" in text for text in saved.values())


@pytest.mark.parametrize("script", ["exit 1", "exec sleep 60", ""])
def test_collecting_never_raises_and_ends(tmp_path, monkeypatch, script):
    monkeypatch.setattr("chroma_qualify.cluster.evidence._LIST_TIMEOUT", 0.3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake_docker(tmp_path / "bin", monkeypatch, script)
    begin = time.monotonic()
    collect_nodes("cq-x", tmp_path / "logs")
    (tmp_path / "file").touch()
    collect_nodes("cq-x", tmp_path / "file")
    assert time.monotonic() - begin < 30  # not the 60 s that it sleeps


def test_the_control_plane_leaves_room_for_pods(tmp_path):
    place = write_patches(tmp_path / "patches")
    config = kind_config(ClusterConfig(workers=1), cgroup=2, patches=place)
    first, second = yaml.safe_load(config)["nodes"]
    (mount,) = first["extraMounts"]
    assert mount["hostPath"] == str(place)
    assert patches(config)["InitConfiguration"]["patches"]["directory"] == mount["containerPath"]
    assert "extraMounts" not in second
    patch = yaml.safe_load((place / "kube-scheduler+strategic.yaml").read_text())
    assert patch["spec"]["containers"][0]["name"] == "kube-scheduler"
