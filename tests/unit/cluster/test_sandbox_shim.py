"""The OCI runtime in front of runc, run as dockerd runs it, with a runc that only writes down its arguments."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SPEC = {
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]},
    "oomScoreAdj": -998,
    "args": ["true"],
}


def shim_text() -> str:
    loader = importlib.machinery.SourceFileLoader("sandbox_script", str(ROOT / "scripts" / "sandbox"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("sandbox_script", loader))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # else it lies beside the script
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = bytecode
    return module.SHIM


@pytest.fixture
def shim(tmp_path):
    """`shim(missing, *arguments)`: run it; returns what runc was given."""
    runc = tmp_path / "runc"
    runc.write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {tmp_path}/given\nexit 7\n')
    runc.chmod(0o755)

    def run(missing: list[str], *arguments: str) -> list[str]:
        script = tmp_path / "shim"
        script.write_text(shim_text().format(python=sys.executable, missing=missing, runc=str(runc)))
        script.chmod(0o755)
        assert subprocess.run([str(script), *arguments], cwd=tmp_path, check=False).returncode == 7
        return (tmp_path / "given").read_text().splitlines()

    return run


@pytest.mark.parametrize("bundle", [["--bundle", "{}"], ["--bundle={}"], ["-b", "{}"], []])
def test_create_loses_the_capabilities_that_the_host_lacks(shim, tmp_path, bundle):
    (tmp_path / "config.json").write_text(json.dumps({"ociVersion": "1.0", "process": SPEC}))
    arguments = ["--root", "/r", "create", *(word.format(tmp_path) for word in bundle), "id"]
    assert shim(["CAP_SYS_RESOURCE"], *arguments) == arguments
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "ociVersion": "1.0",
        "process": {
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": []},
            "oomScoreAdj": 0,
            "args": ["true"],
        },
    }


def test_exec_does_too(shim, tmp_path):
    (tmp_path / "process.json").write_text(json.dumps(SPEC))
    arguments = ["exec", "--process", str(tmp_path / "process.json"), "id"]
    assert shim(["CAP_SYS_RESOURCE"], *arguments) == arguments
    process = json.loads((tmp_path / "process.json").read_text())
    assert process["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": []}
    assert process["oomScoreAdj"] == 0


def test_what_the_host_has_stays(shim, tmp_path):
    (tmp_path / "process.json").write_text(json.dumps(SPEC))
    shim(["CAP_SYS_TIME"], "exec", "-p", str(tmp_path / "process.json"), "id")
    assert json.loads((tmp_path / "process.json").read_text()) == SPEC


@pytest.mark.parametrize("arguments", [["state", "id"], ["delete", "--force", "id"], ["exec", "id", "true"]])
def test_everything_else_goes_through_untouched(shim, arguments):
    assert shim(["CAP_SYS_RESOURCE"], *arguments) == arguments
