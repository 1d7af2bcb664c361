"""Which process is the server, judged on lists as a node gives them."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults import processes
from chroma_qualify.faults.processes import Process, parse_processes, server_process


@pytest.mark.parametrize(
    ("listed", "pid"),
    [
        ("4100 4000 dumb-init\n4120 4100 chroma\n", 4120),
        ("4100 4000 dumb-init\n4120 4100 chroma\n4130 4120 chroma\n", 4120),  # its child is not the server
        ("4120 4000 chroma\n", 4120),  # no init at all
        ("4100 4000 dumb-init\n4110 4100 sh\n4120 4110 python3\n", 4120),
        ("4100 4000 dumb-init\n4120 4100 chroma\n4140  \n", 4120),  # one ended while it was looked at
        ("4100 4000 dumb-init\n4120 4100 my server\n", 4120),
    ],
)
def test_the_server_is_the_topmost_that_is_no_init(listed, pid):
    assert server_process(parse_processes(listed), "abc").pid == pid


@pytest.mark.parametrize(
    "listed", ["", "4100 4000 dumb-init\n", "4100 4000 dumb-init\n1 4100 chroma\n2 4100 sidecar\n"]
)
def test_no_server_or_several_is_undecided(listed):
    with pytest.raises(UndecidedError, match="cannot tell the server"):
        server_process(parse_processes(listed), "abc")


def test_commands_may_hold_spaces():
    assert parse_processes("7 1 tokio runtime") == (Process(7, 1, "tokio runtime"),)


def test_the_script_lists_a_real_pid_namespace(tmp_path):
    """The script as the node runs it; only `ctr`, which tells the first process, is ours here."""
    inside = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 61 & wait"]
    with subprocess.Popen(inside) as outer:
        try:
            first = wait_for_child(outer)
            if first is None:
                pytest.skip("this user may not make a PID namespace")
            ctr = tmp_path / "ctr"
            ctr.write_text(f"#!/bin/sh\necho TASK PID STATUS\necho other 1 RUNNING\necho the-id {first} RUNNING\n")
            ctr.chmod(0o755)
            path = f"{tmp_path}:{os.environ['PATH']}"
            listed = subprocess.run(
                ["sh", "-c", processes._LIST, "sh", "the-id"],
                env={"PATH": path},
                capture_output=True,
                text=True,
                check=True,
            )
            found = parse_processes(listed.stdout)
            assert sorted(process.command for process in found) == ["sh", "sleep"]
            assert server_process(found, "the-id").command == "sleep"
            unknown = subprocess.run(
                ["sh", "-c", processes._LIST, "sh", "no-id"],
                env={"PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert unknown.returncode == 1
            assert "no task no-id" in unknown.stderr
        finally:
            outer.kill()


def wait_for_child(outer):
    """The one child of `unshare` once it has a child of its own; None if unshare failed."""
    deadline = time.monotonic() + 60
    while outer.poll() is None:
        assert time.monotonic() < deadline
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/task/{children[0]}/children").read_text().split():
            grand = Path(f"/proc/{children[0]}/task/{children[0]}/children").read_text().split()[0]
            if Path(f"/proc/{grand}/comm").read_text().strip() == "sleep":
                return int(children[0])
        time.sleep(0.02)
    return None


@pytest.mark.parametrize("layout", ["cpu", "cpu,cpuacct", "cpuacct,cpu", ""])
def test_a_container_s_cgroup_is_found_in_every_layout(tmp_path, layout):
    """Version 1 has a hierarchy for each controller, some mounted together, version 2 has one for all."""
    for name in ("memory", layout):
        (tmp_path / name / "kubelet/pod-1" / f"cri-containerd-abc{'' if name == layout else '-of-memory'}.scope").mkdir(
            parents=True
        )
    script = processes.CGROUP.replace("/sys/fs/cgroup", str(tmp_path)) + 'cgroup "$1" "$2"'
    found = subprocess.run(["sh", "-c", script, "sh", "cpu", "abc"], capture_output=True, text=True, check=True)
    place = Path(found.stdout.strip())
    assert place.is_relative_to(tmp_path / layout)
    assert place.name.startswith("cri-containerd-abc")
    missing = subprocess.run(["sh", "-c", script, "sh", "cpu", "xyz"], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "no cpu cgroup of container xyz" in missing.stderr
