"""`run` as a shell sees it, as far as it goes without an engine: refusals, help, completion, a cluster that is away."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from chroma_qualify import cli

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-c", "from chroma_qualify.cli import main; main()"]


@pytest.fixture
def chroma_qualify(monkeypatch, tmp_path, console):
    """The console entry in an empty directory, with no docker and no kubectl on PATH; exit code, stdout, stderr."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return console


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--manifests", "nowhere"), "--manifests nowhere: there is no such directory"),
        (("--manifests", "\n;rm -rf /"), "there is no such directory"),
        (("--manifests", ".", "--baseline", "nowhere"), "--baseline nowhere: there is no such directory"),
        (("--baseline", "."), "--baseline needs --manifests"),
        (("--fault", "earthquake"), "there is no fault 'earthquake'; there are api-server-down"),
        (("--fault", "pod-kill", "--fault", ""), "there is no fault ''"),
        (("--time-limit", "soon"), "--time-limit 'soon' is no span of time"),
        (("--time-limit", "-1"), "--time-limit '-1' is no span of time"),
        (("--kubeconfig", "nowhere", "--cluster", "x"), "--kubeconfig nowhere: there is no such file"),
        (("--cluster", "x"), "there is no kubeconfig"),
        (("--cluster", "current-context"), "there is no kubeconfig"),
        (("--nodes", "0"), "--nodes"),
        (("--seed", "x"), "--seed"),
        (("--power-losses", "101"), "--power-losses"),
        (("--images", "cache"), "--images"),
        (("--k8s-version", "latest"), "latest is not a version like 1.5.9"),
        (("--format", "xml"), "--format"),
        (("--bogus",), "--bogus"),
        (("surplus",), "surplus"),
    ],
)
def test_a_wrong_request_ends_with_2_before_anything_starts(chroma_qualify, tmp_path, args, sentence):
    code, out, err = chroma_qualify("run", *args)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_of_a_file_ends_with_2(chroma_qualify, tmp_path):
    (tmp_path / "chroma-qualify.toml").write_text("nodse = 3")
    code, _, err = chroma_qualify("run")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no setting 'nodse'" in err


# As the documentation says them; tests/docs/commands.toml names this file.
ASKED = (
    "chroma-qualify run --cluster staging --loader-image registry.example/chroma-qualify/loader:dev",
    "chroma-qualify run --cluster staging --loader-image … --load-pods 8 --scenario scale_out",
)
CONFIRMED = "chroma-qualify run --cluster current-context --manifests deploy/chroma --yes --format json"
KUBECONFIG = {
    "apiVersion": "v1", "kind": "Config", "current-context": "away",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:PORT"}}],
    "users": [{"name": "u", "user": {"token": "x"}}],
    "contexts": [{"name": "away", "context": {"cluster": "c", "user": "u"}}],
}  # fmt: skip


def test_nobody_is_there_to_be_asked(chroma_qualify, tmp_path):
    (tmp_path / "config").write_text(json.dumps(KUBECONFIG))
    code, _, err = chroma_qualify("run", "--cluster", "away", "--kubeconfig", "config")
    assert code == 2
    assert err.count("\n") == 1
    assert "the context away, https://127.0.0.1:PORT" in err
    assert err.endswith("There is no terminal to confirm it at; say --yes if a run may use it\n")


@pytest.mark.parametrize("command", ASKED)
def test_what_is_documented_is_taken_as_far_as_the_question(chroma_qualify, tmp_path, monkeypatch, command):
    (tmp_path / "config").write_text(json.dumps(KUBECONFIG).replace("away", "staging"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    code, _, err = chroma_qualify(*shlex.split(command)[1:])
    assert (code, err.count("\n")) == (2, 1)
    assert "the context staging, https://127.0.0.1:PORT" in err


def test_a_cluster_that_is_there_needs_no_engine(tmp_path):
    """It is away, and so the run ends: but it was looked for, and nothing of an engine was asked for or made."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    (tmp_path / "config").write_text(json.dumps(KUBECONFIG).replace("PORT", str(port)))
    shutil.copytree(ROOT / "tests" / "strangers" / "plain", tmp_path / "deploy" / "chroma")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("docker", "touch DIR/docker-was-called"), ("kubectl", 'exec KUBECTL "$@"')):
        program = programs / name
        program.write_text(f"#!/bin/sh\n{text}\n".replace("DIR", str(tmp_path)).replace("KUBECTL", str(kubectl())))
        program.chmod(0o755)
    done = subprocess.run(
        [*PROGRAM, *shlex.split(CONFIRMED)[1:], "--scenario=data::recall", f"--run-dir={tmp_path / 'run'}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache"),
             "KUBECONFIG": str(tmp_path / "config")},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 4, said
    assert done.stdout == "", "there is no verdict yet, and nothing else belongs there"
    assert "127.0.0.1" in said
    assert "Traceback" not in said
    assert not (tmp_path / "docker-was-called").exists()
    assert not (tmp_path / "cache" / "chroma-qualify" / "engine").exists()


def kubectl() -> Path:
    from chroma_qualify.cluster.existing import find_kubectl

    return find_kubectl()


COMMANDS = ["run", "again", "plan", "check", "lint", "report", "diff", "doctor", "up", "status", "down", "clean"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(chroma_qualify, command):
    code, out, _ = chroma_qualify(command, "--help")
    assert code == 0
    assert f"chroma-qualify {command}" in out.partition("Usage: chroma-qualify")[2].partition("\n")[2]


def test_every_command_is_in_the_help(chroma_qualify):
    code, out, _ = chroma_qualify("--help")
    assert code == 0
    assert sorted(typer.main.get_command(cli.app).commands) == sorted(COMMANDS)
    assert all(f" {command} " in out for command in COMMANDS)
    assert "--install-completion" in out


def test_the_shell_completes_commands_and_options():
    done = subprocess.run(
        [Path(sys.executable).parent / "chroma-qualify"], capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, "_CHROMA_QUALIFY_COMPLETE": "complete_bash", "COMP_WORDS": "chroma-qualify run --ti",
             "COMP_CWORD": "2"},
    )  # fmt: skip
    assert done.stdout.split() == ["--time-limit"], done.stderr
