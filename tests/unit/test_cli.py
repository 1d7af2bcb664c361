"""The commands as a shell sees them: exit code and one sentence. No engine is needed, and none is there."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from chroma_qualify.checks.plan import read_plan
from chroma_qualify.cluster import guests, lease
from chroma_qualify.cluster.existing import Context
from chroma_qualify.cluster.model import Guest
from chroma_qualify.faults.experiments import experiments

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chroma_qualify(monkeypatch, tmp_path, console):
    """Run the console entry with no docker on PATH and an empty cache; returns exit code, stdout, stderr."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return console


@pytest.mark.parametrize(
    "args",
    [
        ("nothing-like-it",),
        ("up", "--bogus"),
        ("up", "--nodes", "abc"),
        ("up", "--nodes", "0"),
        ("up", "--images", "foo"),
        ("up", "--k8s-version", "latest"),
    ],
)
def test_a_wrong_request_ends_with_2(chroma_qualify, args):
    code, _, err = chroma_qualify(*args)
    assert code == 2
    assert args[-1] in err or "--nodes" in err
    assert "Traceback" not in err


def test_a_cluster_that_does_not_exist_cannot_be_deleted(chroma_qualify):
    code, _, err = chroma_qualify("down", "cq-nowhere")
    assert (code, err) == (2, "there is no cluster cq-nowhere; there are: none\n")


def test_nothing_to_delete_is_no_error(chroma_qualify):
    assert chroma_qualify("down") == (0, "there is no cluster to delete\n", "")
    assert chroma_qualify("status") == (0, "no cluster was kept\n", "")


def test_where_no_engine_is_a_kept_cluster_is_told_of(chroma_qualify):
    lease.take_lease("cq-mine", kept=True)
    code, out, err = chroma_qualify("status")
    assert (code, err) == (0, "")
    assert out.startswith("there is no cluster that can be reached: no Docker engine is usable here; kept: cq-mine\n")
    cannot = "cq-mine cannot be deleted: no Docker engine is usable here; use `make down`\n"
    assert chroma_qualify("down") == (4, "", cannot)
    assert chroma_qualify("down", "nosuch") == (2, "", "there is no cluster nosuch; there are: cq-mine\n")


def test_a_machine_without_docker_is_told_in_one_sentence(chroma_qualify):
    code, _, err = chroma_qualify("clean")
    assert code == 4
    assert err.count("\n") == 1
    assert "docker is not installed" in err


def test_a_guest_needs_no_docker_to_clean_up(chroma_qualify):
    assert chroma_qualify("clean", "--elsewhere") == (0, "nothing was left behind\n", "")
    server = "https://127.0.0.1:1"
    document = {"contexts": [], "clusters": [{"cluster": {"server": server}}], "users": []}
    kubectl = Path(os.environ["PATH"]) / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'error: Unauthorized' >&2\nexit 1\n")
    kubectl.chmod(0o755)
    guests.enter(Context("theirs", server, (), document), Guest("r-1"), loader="")
    lease = guests.guest_dir("r-1") / "lease.json"
    lease.write_text(json.dumps({**json.loads(lease.read_text()), "started": 1}))  # as after `kill -9`
    code, out, err = chroma_qualify("clean")
    assert (code, out) == (4, "")
    assert err.startswith("run r-1 left something in theirs that cannot be deleted now")
    kubectl.write_text('#!/bin/sh\n[ "$2" = get ] && echo namespace/cq-a\nexit 0\n')
    assert chroma_qualify("clean") == (0, "deleted: namespace/cq-a in theirs\n", "")
    assert not lease.parent.exists()


@pytest.fixture
def candidate(tmp_path_factory) -> str:
    """A directory of what one may find out there: no qualification.yaml."""
    there = tmp_path_factory.mktemp("candidate")
    shutil.copytree(ROOT / "tests/strangers/plain", there, dirs_exist_ok=True)
    (there / "qualification.yaml").unlink(missing_ok=True)
    return str(there)


def test_plan_says_what_a_run_would_do(chroma_qualify, tmp_path):
    manifests = str(ROOT / "manifests/overlays/single-writer")
    code, out, _ = chroma_qualify("plan", "--manifests", manifests, "--seed", "7")
    assert code == 0
    assert "seed       7" in out
    assert "power-loss with sync_threshold never" in out
    assert "node-drain" in out
    assert "needs 2 nodes" in out
    assert "  data::real_text\n" in out
    assert "(second lane, beside the others)\n" in out
    assert list(tmp_path.iterdir()) == []  # it touches nothing


def test_plan_says_what_was_asked_for_and_no_more(chroma_qualify, candidate):
    given = ("plan", "--manifests", candidate, "--seed", "7", "--time-limit", "30m", "--baseline", candidate)
    code, out, _ = chroma_qualify(*given, "-k", "recall", "-k", "power-loss-1")
    assert code == 0
    assert "limit      1800 s" in out
    assert f"baseline   {candidate}" in out
    assert "Other scenarios: 1." in out
    assert re.findall(r"(?m)^(\S+-\d|  \S+::\S+)", out) == ["power-loss-1", "  data::recall_over_20000_vectors"]


def test_plan_of_an_existing_cluster_says_what_is_unavailable_and_why(chroma_qualify, candidate):
    code, out, _ = chroma_qualify(
        "plan", "--manifests", candidate, "--cluster", "staging", "--nodes", "3", "-k", "fault"
    )
    assert code == 0
    assert "no qualification.yaml: the strictest ones hold" in out
    assert "second lane" not in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "append" in lines["pod-delete"]
    told = (ROOT / "docs/how-to/existing-cluster.md").read_text()
    table = dict(re.findall(r"(?m)^\| ([a-z, -]+) \| (.+) \|$", told))
    documented = {name: why for names, why in table.items() for name in names.split(", ")}
    for each in experiments():
        if each.own_nodes:
            assert f"unavailable: {documented[each.fault.name]}" in lines[each.name]


def test_plan_as_json_is_what_a_run_writes(chroma_qualify, candidate):
    _, out, _ = chroma_qualify("plan", "--manifests", candidate, "--fault", "power-loss", "--power-losses", "3",
                               "--format", "json")  # fmt: skip
    plan = read_plan(json.loads(out))
    assert [each.name for each in plan.experiments] == ["power-loss-1", "power-loss-2", "power-loss-3"]
    assert json.loads(out)["scenarios"] == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--manifests", "/nowhere"), "/nowhere is not a directory"),
        (("--fault", "meteor"), "there is no fault 'meteor'; there are api-server-down"),
        (("--power-losses", "0"), "--power-losses"),
        (("--format", "xml"), "--format"),
        (("--time-limit", "soon"), "--time-limit 'soon'"),
        (("--scenario", "meteor"), "no scenario matches 'meteor'"),
        (("--scenario", "("), "Wrong expression passed to '-k'"),
        (("--manifests", str(ROOT / "tests/strangers/several")), "holds 2 Chroma servers"),
    ],
)
def test_a_wrong_plan_ends_with_2(chroma_qualify, candidate, args, words):
    given = args if args[0] == "--manifests" else ("--manifests", candidate, *args)
    code, _, err = chroma_qualify("plan", *given)
    assert code == 2
    assert words in err


@pytest.mark.parametrize("command", [("report", "{0}"), ("diff", "{0}", "{0}")])
def test_what_is_no_run_has_no_page(chroma_qualify, tmp_path, command):
    given = tmp_path / "somewhere"
    given.mkdir()
    code, _, err = chroma_qualify(*(word.format(given) for word in command))
    assert (code, list(given.iterdir())) == (2, [])
    assert err.startswith(f"{given} is not the directory of a run: it has neither verdict.json, plan.json nor")


@pytest.mark.parametrize("command", [("report", "{0}"), ("diff", "{0}", "{0}", "--format", "html")])
def test_a_page_is_put_where_there_is_a_place(chroma_qualify, tmp_path, command):
    (tmp_path / "plan.json").write_text("{}")
    words = [word.format(tmp_path) for word in command]
    code, _, err = chroma_qualify(*words, "-o", str(tmp_path / "nowhere" / "a.html"))
    assert (code, err) == (
        2, f"--output {tmp_path}/nowhere/a.html: there is no directory {tmp_path}/nowhere; make it, or name another\n"
    )  # fmt: skip
    code, _, err = chroma_qualify(*words, "-o", str(tmp_path))
    assert (code, err) == (2, f"--output {tmp_path} is a directory; name a file\n")


def test_a_device_is_written_to_and_stays(chroma_qualify, tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)  # opened so, it neither waits nor ends
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)
    try:
        code, _, _ = chroma_qualify("report", str(tmp_path), "-o", str(tmp_path / "pipe"))
        assert os.read(reader, 15) == b"<!doctype html>"
    finally:
        os.close(reader)
    assert code == 0
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
