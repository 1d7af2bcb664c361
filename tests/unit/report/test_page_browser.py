"""report.html as a person gets it, in a headless Chromium: seen, used, printed, and never a request or an error."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import page_runs
import pytest
from axe_playwright_python.sync_playwright import Axe
from page_runs import PATIENCE
from playwright.sync_api import Browser, Page

from chroma_qualify.report.page import write_page
from chroma_qualify.report.page_diff import write_diff_page

RUNS = {"rich": page_runs.rich, "hostile": page_runs.hostile, "cut": page_runs.cut, "empty": lambda place: place}
Open = Callable[..., Page]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=[*RUNS, "diff"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of each kind of run, and of two compared."""
    if request.param == "diff":
        place = tmp_path_factory.mktemp("runs")
        before = page_runs.rich(place / "a", findings=page_runs.FINDINGS[:1])
        return write_diff_page(before, page_runs.hostile(place / "b"), place / "diff.html")
    return write_page(RUNS[request.param](tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(page_runs.rich(tmp_path_factory.mktemp("run")))


@pytest.fixture
def show(browser: Browser) -> Iterator[Open]:
    """Open a page; in the end nothing has been asked of a network, and nothing was said on the console."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(report: Path, *, width: int = 1280, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri(), timeout=PATIENCE)
        assert asked.pop() == report.as_uri()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert asked == []


def window(page: Page) -> tuple[float, float]:
    """The part of the run that the charts show, seconds."""
    begin, end = page.evaluate("document.documentElement.dataset.range").split()
    return float(begin), float(end)


def area(page: Page, chart: str) -> dict[str, float]:
    """Where the drawn part of a chart is, once it is in the middle of the screen."""
    over = page.locator(f'[data-chart="{chart}"] .u-over')
    over.evaluate("element => element.scrollIntoView({block: 'center'})")
    box = over.bounding_box()
    assert box is not None
    return box


def painted(page: Page, chart: str) -> int:
    """How many pixels of a chart are not empty."""
    return page.evaluate(
        """chart => { const canvas = document.querySelector(`[data-chart="${chart}"] canvas`);
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let painted = 0; for (let at = 3; at < data.length; at += 4) painted += data[at] > 0; return painted; }""",
        chart,
    )


def broken_rules(page: Page) -> str:
    """What axe finds, "" if it is nothing."""
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    found = Axe().run(page)
    passed = {rule["id"] for rule in found.response["passes"]}
    assert {"color-contrast", "page-has-heading-one", "region"} <= passed, "axe looked at the page itself"
    return found.generate_report() if found.violations_count else ""


def test_anybody_can_use_it(report, show):
    assert broken_rules(show(report, color_scheme="light")) == ""


def test_anybody_can_use_it_in_the_dark(rich, show):
    assert broken_rules(show(rich, color_scheme="dark")) == ""


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(report, show, width):
    page = show(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.screenshot(full_page=True)[:4] == b"\x89PNG"


def test_hostile_texts_do_nothing(tmp_path, show):
    page = show(write_page(page_runs.hostile(tmp_path)))
    page.mouse.move(300, 300)
    assert "owned" in page.inner_text("#findings"), "they are there to be read"
    assert page.evaluate("document.title").startswith("fail: ")
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_the_verdict_is_on_the_first_screen(rich, show):
    page = show(rich, width=360)
    for selector in ("h1", ".meaning", ".why li"):
        box = page.locator(selector).first.bounding_box()
        assert box["y"] + box["height"] < 900
    assert "fail" in page.locator("h1").inner_text()


def test_charts_are_drawn_and_zoomed_together(rich, show):
    page = show(rich)
    for chart in ("latency", "throughput", "errors", "replicas", "cpu", "memory"):
        assert painted(page, chart) > 1000, f"{chart} is empty"
    assert window(page) == (0, 300)
    over = area(page, "latency")
    middle = over["y"] + over["height"] / 2
    page.mouse.move(over["x"] + over["width"] / 3, middle)
    page.mouse.down()
    page.mouse.move(over["x"] + over["width"] / 2, middle, steps=5)
    page.mouse.up()
    begin, end = window(page)
    assert 95 < begin < 105
    assert 145 < end < 155
    assert page.locator("[data-window]").inner_text() == "1:40 to 2:30"
    page.mouse.dblclick(over["x"] + over["width"] / 2, middle)
    assert window(page) == (0, 300)


def test_the_cursor_is_in_all_charts(rich, show):
    page = show(rich)
    over = area(page, "latency")
    page.mouse.move(over["x"] + over["width"] * 0.4, over["y"] + 20)
    memory = page.locator('.chart:has([data-chart="memory"]) [data-legend]').inner_text()
    assert "MiB" in memory
    assert re.search(r"at:?\s*2:00", memory)
    assert "pod-delete (fault, proven)" in page.locator("[data-here]").inner_text()


def test_keys_and_buttons_zoom(rich, show):
    page = show(rich)
    page.focus('[data-chart="cpu"]')
    page.keyboard.press("+")
    assert window(page) == (75, 225)
    page.keyboard.press("ArrowLeft")
    assert window(page) == (37.5, 187.5)
    page.keyboard.press("0")
    assert window(page) == (0, 300)
    page.get_by_role("button", name="zoom in").click()
    page.get_by_role("button", name="zoom in").click()
    page.get_by_role("button", name="later").click()
    assert window(page) == (131.25, 206.25)
    page.get_by_role("button", name="zoom out").click()
    page.get_by_role("button", name="whole run").click()
    page.get_by_label("go to").select_option(label="pod-delete")
    begin, end = window(page)
    assert begin < 100
    assert 130 < end < 200
    before = painted(page, "latency")
    page.get_by_label("logarithmic latency").check()
    assert painted(page, "latency") != before
    assert window(page) == (begin, end)


def test_colours_follow_the_system_and_the_switch(rich, show):
    page = show(rich, color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("radio", name="light").check(force=True)
    light = page.evaluate(ground)
    assert dark == "rgb(20, 23, 26)"
    assert light == "rgb(247, 247, 245)"
    page.get_by_role("radio", name="auto").check(force=True)
    assert page.evaluate(ground) == dark
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == light


def test_a_program_that_only_says_that_it_is_none_is_no_browser(tmp_path):
    script = ROOT / "scripts" / "browser"

    def found(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which("bash") or "bash", script], env={"PATH": str(tmp_path), **environment}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    for name, code in (("chromium", 1), ("google-chrome", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    assert found().stdout == f"{tmp_path / 'google-chrome'}\n"
    named = found(CHROMIUM=str(tmp_path / "chromium"))
    assert (named.returncode, named.stderr.count("\n")) == (4, 1)
    assert "is no program that runs" in named.stderr


def test_the_command_can_be_copied(rich, show):
    page = show(rich, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("window.setTimeout = () => 0")  # it says so for two seconds, which may be over before we look
    page.get_by_role("button", name="copy").click()
    page.get_by_role("button", name="copied").wait_for()
    assert "--seed 7" in page.evaluate("navigator.clipboard.readText()")


def test_without_scripts_the_tables_hold_the_same(rich, show):
    page = show(rich, java_script_enabled=False)
    assert "The charts need JavaScript" in page.inner_text("#timeline")
    page.get_by_text("Latency as a table").click()
    assert page.locator('.chart:has([data-chart="latency"]) tbody tr').count() > 20
    assert not page.locator(".tools").is_visible()


def test_it_can_be_printed(report, show, tmp_path):
    page = show(report, color_scheme="dark")
    paper = page.pdf(format="A4")
    assert paper[:5] == b"%PDF-"
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert 1 <= pages <= 60, pages
    boxes = [tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", paper)]
    assert all(abs(width - 595) < 2 and abs(height - 842) < 2 for _, _, width, height in boxes), "A4 upright"
    assert page.evaluate("document.documentElement.dataset.theme ?? 'auto'") == "auto", "as it was before"
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
