"""The files that the documentation shows are such as their readers take."""

from __future__ import annotations

from pathlib import Path

import documented
import pytest
from documented import ROOT, Block

from chroma_qualify.checks.promises import refuse_unknown_faults
from chroma_qualify.cli import run as run_command
from chroma_qualify.cli.config import FILE as SETTINGS
from chroma_qualify.cli.config import options_of, read_settings
from chroma_qualify.cli.lint import lint
from chroma_qualify.deployment.linting import load_waivers
from chroma_qualify.deployment.manifests import WAIVERS
from chroma_qualify.deployment.qualification import FILE as QUALIFICATION
from chroma_qualify.deployment.qualification import load_access, load_promises
from chroma_qualify.faults.experiments import fault_names

SHOWN = [block for page in documented.pages() for block in documented.blocks(page) if block.file]


def of(name: str) -> list[Block]:
    found = [block for block in SHOWN if Path(str(block.file)).name == name]
    assert found, f"no page shows a {name}"
    return found


def ids(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.mark.parametrize("block", of(QUALIFICATION), ids=ids)
def test_a_qualification(block, tmp_path):
    text = block.content.replace("../manifests/", f"{ROOT}/manifests/")
    (tmp_path / QUALIFICATION).write_text(text)
    refuse_unknown_faults(load_promises(tmp_path), fault_names())
    load_access(tmp_path)


@pytest.mark.parametrize("block", of(WAIVERS), ids=ids)
def test_waivers(block, tmp_path):
    (tmp_path / WAIVERS).write_text(block.content)
    assert load_waivers(tmp_path / WAIVERS, needed=True)


@pytest.mark.parametrize("block", of(SETTINGS), ids=ids)
def test_settings(block, tmp_path):
    (tmp_path / SETTINGS).write_text(block.content)
    assert read_settings(tmp_path, options_of(run_command.run), options_of(lint)).run
