"""Bad input as a user would give it, through the scripts: exit code, one sentence, no stack trace."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chroma_qualify.cluster import lease

ROOT = Path(__file__).parents[2]


def ended(*command: str | Path, **environment: str) -> tuple[int, str]:
    """Exit code and stderr."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MANIFESTS", "no/such/topology", "there is no such directory"),
        ("MANIFESTS", "README.md", "there is no such directory"),
        ("BASELINE", "no/such/topology", "there is no such directory"),
        ("BASELINE", "manifests/base", "needs MANIFESTS=DIR"),
        ("NODES", "0", "is less than 1"),
        ("NODES", "-1", "is not a whole number"),
        ("NODES", "three", "is not a whole number"),
        ("NODES", "9" * 20, "is not a whole number of at most nine digits"),
        ("SEED", "x", "is not a whole number"),
        ("KEEP", "yes", "is neither 0 nor 1"),
        ("IMAGES", "cache", "is none of auto, registry, packages"),
        ("CHROMA_VERSION", "latest", "is not a version like 1.5.9"),
        ("K8S_VERSION", "v1", "is not a version like 1.5.9"),
    ],
)
def test_a_wrong_variable_ends_with_2_before_anything_starts(name, value, sentence):
    code, said = ended("scripts/qualify", "e2e", **{name: value})
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"{name}={value}")
    assert sentence in said


def test_the_file_of_where_it_is_called_from_counts_and_is_not_overruled_by_what_nobody_said(tmp_path):
    (tmp_path / "chroma-qualify.toml").write_text('images = "nowhere"\nseed = 7\n')
    kept = {name: value for name, value in os.environ.items() if name != "IMAGES"}
    done = subprocess.run(
        ["scripts/qualify", "e2e"], cwd=ROOT, env={**kept, "CHROMA_QUALIFY_FROM": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Invalid value for '--images': 'nowhere'" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("command", ["", "e3e", "--help"])
def test_an_unknown_command_ends_with_2(command):
    code, said = ended("scripts/qualify", command)
    assert (code, said) == (2, f"scripts/qualify: unknown command '{command}'; see make help\n")


@pytest.mark.parametrize("words", [("run", "--bogus"), ("run",), ("stop", "--all")])
def test_the_sandbox_refuses_what_it_does_not_know(words, tmp_path):
    code, said = ended("scripts/sandbox", *words, XDG_CACHE_HOME=str(tmp_path))
    assert (code, said.count("\n")) == (2, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root, so it needs it")
@pytest.mark.parametrize("command", [("start",), ("run", "--", "true")])
def test_without_root_and_docker_one_sentence_says_what_to_install(command, tmp_path):
    # The script is handed over as text: the checkout may be where only root can read.
    text = (ROOT / "scripts" / "sandbox").read_text()
    python = "/usr/bin/python3"
    if not Path(python).exists() or not Path("/usr/bin/setpriv").exists():
        pytest.skip("needs the system's own python3 and setpriv")
    home = Path("/tmp") / f"chroma-qualify-nobody-{os.getpid()}"  # tmp_path is below a directory of root's
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    try:
        done = subprocess.run(
            ["/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", python, "-c", text, *command],
            env={"PATH": str(home), "HOME": str(home)}, cwd="/", capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    finally:
        subprocess.run(["rm", "-rf", home], check=True)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "no usable Docker engine here" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, so it needs root")
@pytest.mark.parametrize(
    ("size", "fill", "sentence"), [("50m", 0, "GiB of disk space"), ("1m", 2**21, "cannot be written")]
)
def test_a_full_disk_is_told_before_a_build(tmp_path, size, fill, sentence):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "chroma-qualify-test", tmp_path], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("cannot mount here")
    try:
        with contextlib.suppress(OSError):
            (tmp_path / "fill").write_bytes(b"x" * fill)
        code, said = ended(
            sys.executable, "-m", "chroma_qualify.cluster.images", "ensure", "--mode", "packages",
            XDG_CACHE_HOME=str(tmp_path),
        )  # fmt: skip
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert (code, said.count("\n")) == (4, 1)
    assert sentence in said


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_owner_that_nobody_reaped_does_not_keep_its_cluster():
    child = subprocess.Popen(["sleep", "60"])
    born = lease.start_time(child.pid)
    assert born > 0
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
    assert Path(f"/proc/{child.pid}/stat").exists()
    assert lease.start_time(child.pid) == 0
    child.wait()
