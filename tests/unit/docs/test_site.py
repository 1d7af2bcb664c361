"""The documentation as a site: built without a warning and without a network; generated pages are up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from documented import ROOT

PATIENCE = 300.0  # s; two, were the machine alone


def test_the_site_is_built_without_a_warning(tmp_path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    how = {"capture_output": True, "text": True, "timeout": PATIENCE}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=False, **how)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    page = (tmp_path / "site/index.html").read_text()
    fetched = re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)=[\"'](https?:[^\"']+)", page)
    assert [each for each in fetched if "canonical" not in each] == []


def test_the_reference_of_the_command_line_is_up_to_date():
    script = ROOT / "scripts/cli-reference"
    done = subprocess.run([script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{done.stdout}write them: scripts/cli-reference --write"
