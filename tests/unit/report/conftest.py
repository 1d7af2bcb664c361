"""A real browser, for what a person sees of report.html."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_runs import PATIENCE
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; where there is none and it can be had, it is installed."""
    found = subprocess.run([ROOT / "scripts" / "browser"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(found.stderr.strip(), pytrace=False)
    return found.stdout.strip()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Headless, without a network: whatever a page asks for beside itself fails, and is seen."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox does not work as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments, timeout=PATIENCE)
        yield browser
        browser.close()
