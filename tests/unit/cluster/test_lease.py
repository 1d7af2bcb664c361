"""Whose cluster it is, and when anybody may delete it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time

import pytest

from chroma_qualify.cluster.lease import cluster_dir, drop_lease, read_leases, take_lease


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def of_dead_process(lease):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return dataclasses.replace(lease, pid=child.pid)


def test_the_lease_of_a_living_owner_holds_even_when_it_has_expired():
    lease = take_lease("cq-a", kept=False)
    assert read_leases() == [lease]
    assert lease.pid == os.getpid()
    assert lease.owner_lives()
    assert not dataclasses.replace(lease, expires=0.0).is_over()


def test_an_owner_that_is_dead_holds_nothing():
    assert of_dead_process(take_lease("cq-a", kept=False)).is_over()


@pytest.mark.parametrize("changed", [{"started": 1}, {"boot": "another"}])
def test_a_pid_that_was_given_to_another_process_is_not_the_owner(changed):
    lease = dataclasses.replace(take_lease("cq-a", kept=False), **changed)
    assert not lease.owner_lives()
    assert lease.is_over()


@pytest.mark.parametrize(("left", "over"), [(60.0, False), (-60.0, True)])
def test_a_kept_cluster_outlives_its_owner_until_it_expires(left, over):
    lease = of_dead_process(take_lease("cq-a", kept=True))
    assert not lease.is_over()
    assert dataclasses.replace(lease, expires=time.time() + left).is_over() is over


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "cq-a"}', '"x"'])
def test_an_unreadable_lease_is_over_and_does_not_hide_the_others(text):
    good = take_lease("cq-b", kept=False)
    cluster_dir("cq-a").mkdir(parents=True)
    (cluster_dir("cq-a") / "lease.json").write_text(text)
    broken, other = read_leases()
    assert (broken.name, broken.is_over()) == ("cq-a", True)
    assert other == good


def test_a_dropped_lease_is_gone_and_can_be_dropped_again():
    take_lease("cq-a", kept=True)
    drop_lease("cq-a")
    drop_lease("cq-a")
    assert read_leases() == []
    assert not cluster_dir("cq-a").exists()
