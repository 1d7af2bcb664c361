"""Every command of the documentation is run by a test, or says why it cannot be.

What needs no cluster is run here, as printed, in a copy of the repository, and what the page shows of its output is
compared. `make e2e` and the like are run up to where the engine would start: Makefile, scripts/qualify, its checks, and
pytest's own collection, which must find scenarios; .ci/run runs it whole. Blocks marked `<!-- on a cluster -->` are
run by tests/e2e/test_documented_commands.py. tests/docs/commands.toml has the rest, and the test that runs each.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import documented
import pytest
from documented import ROOT, Command

TABLE = tomllib.loads((ROOT / "tests/docs/commands.toml").read_text())
RUN_BY = {entry["command"]: entry for entry in TABLE["run_by"]}
NOT_RUN = {entry["command"]: entry["because"] for entry in TABLE["not_run"]}
MENTIONS = set(TABLE["mentions"])
COMMANDS = [command for page in documented.pages() for command in documented.commands(page)]
# Commands of ours that are done in a moment and need no cluster; and those that need one, which are not.
AT_ONCE = {"lint", "plan", "check", "diff", "report", "--help", "--version", "--show-completion"}
SHELL = {"cp", "echo", "ls", "mkdir", "source", "scripts/client-table", "scripts/matrix", "scripts/setup"}
MAKE_AT_ONCE = {"help", "setup"}
MAKE_WITH_AN_ENGINE = {"e2e", "load", "images", "up", "down", "clean"}
WITH_AN_ENGINE = {"run", "again", "up", "down", "status", "clean"}
LEFT_BEHIND = {".git", ".venv", "runs", "build", "my-chroma", "node_modules", "__pycache__"}
PATIENCE = 300.0  # s; a second or two, were the machine alone


def is_run_here(command: Command) -> bool:
    """Cheap, and without a cluster."""
    words = shlex.split(command.text.replace("…", "x"))
    if not words:
        return False
    if words[0] == "make":
        return words[1] in MAKE_AT_ONCE
    if words[0] in SHELL:
        return not command.in_a_sentence
    return is_ours(words) and (words[1] in AT_ONCE or "--help" in words)


def is_ours(words: list[str]) -> bool:
    return words[0].removeprefix(".venv/bin/") == "chroma-qualify" and len(words) > 1


def starts_an_engine(command: Command) -> bool:
    words = shlex.split(command.text.replace("…", "x"))
    if words[:1] == ["make"]:
        return words[1] in MAKE_WITH_AN_ENGINE
    return words[0] in {"scripts/qualify", "scripts/sandbox"} or (is_ours(words) and words[1] in WITH_AN_ENGINE)


def is_listed(command: Command) -> bool:
    return command.text in RUN_BY or command.text in NOT_RUN or (command.in_a_sentence and command.text in MENTIONS)


HERE = [each for each in COMMANDS if is_run_here(each) and not is_listed(each)]
ENGINE = [each for each in COMMANDS if starts_an_engine(each) and not is_listed(each)]


def test_every_code_block_says_what_it_is():
    wrong = [
        f"{block.page}:{block.line}: {block.language or 'no language'}"
        for page in documented.pages()
        for block in documented.blocks(page)
        if block.language not in documented.LANGUAGES
    ]
    assert wrong == []


def test_every_command_is_run_by_a_test():
    left = [
        command.where
        for command in COMMANDS
        if not (command.on_a_cluster or is_run_here(command) or starts_an_engine(command) or is_listed(command))
    ]
    assert left == [], "run them in a test and say so in tests/docs/commands.toml"


def test_the_table_has_nothing_that_no_page_says():
    said = {command.text for command in COMMANDS}
    assert len(RUN_BY) + len(NOT_RUN) == len(TABLE["run_by"]) + len(TABLE["not_run"]), "a command is in it twice"
    assert [each for each in [*RUN_BY, *NOT_RUN, *MENTIONS, *TABLE["exits"]] if each not in said] == []


@pytest.mark.parametrize("entry", RUN_BY.values(), ids=RUN_BY)
def test_the_named_test_runs_it(entry):
    """The file has the command word for word, or what `has` says of it."""
    text = (ROOT / entry["test"]).read_text()
    assert entry.get("has", entry["command"]) in text, f"{entry['test']} does not run: {entry['command']}"


def test_few_are_not_run():
    assert all(NOT_RUN.values())
    assert len(NOT_RUN) <= len(COMMANDS) / 20


def test_marked_pages_are_those_of_the_scenario():
    """Its lists are in its source: to import it would need a cluster's plugin."""
    source = (ROOT / "tests/e2e/test_documented_commands.py").read_text()
    for page in sorted({command.page for command in COMMANDS if command.on_a_cluster}):
        assert f'"{page}"' in source or f'"{Path(page).stem}"' in source, page


def test_links_lead_somewhere():
    """Also those of README and manifests/, which mkdocs does not see."""
    broken = []
    for page in documented.pages():
        for link in documented.links(page):
            path = link.partition("#")[0]
            if path and "://" not in path and not (page.parent / path).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader's shell at the root of a copy of the repository."""

    root: Path
    environment: dict[str, str]
    done: dict[str, subprocess.CompletedProcess[str]] = dataclasses.field(default_factory=dict)

    def once(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks nothing of the sandbox; what several pages say is run for the first of them."""
        if text not in self.done:
            self.done[text] = self.run(text)
        return self.done[text]

    def run(self, text: str, asked: Path = Path("/dev/null")) -> subprocess.CompletedProcess[str]:
        """Run a command as printed; output and errors as one text. What is asked of the sandbox goes into a file."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.root, text=True, timeout=PATIENCE, check=False,
            env={**self.environment, "SANDBOX_ASKED": str(asked)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """`readers(made)`: a shell in a new copy, with nothing of an engine that could start.

    What stands for the reader's own directories is there, but for those that a page makes itself.
    """

    def new(made: Collection[str] = ()) -> Reader:
        root = tmp_path_factory.mktemp("reader") / "chroma-qualify"
        shutil.copytree(ROOT, root, ignore=left_behind)
        (root / ".venv").symlink_to(ROOT / ".venv")
        for name, source in TABLE["placeholders"].items():
            if name in made:
                continue
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(root / source)
        for name, source in TABLE["runs"].items():
            unpack(ROOT / source, root / "runs" / name)
        stub(root / "scripts/setup", "exit 0")
        stub(root / "scripts/sandbox", 'printf "%s\\0" "$@" >>"$SANDBOX_ASKED"; printf "\\n" >>"$SANDBOX_ASKED"')
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
        environment["XDG_CACHE_HOME"] = str(root / "cache")  # what this machine has built is not the reader's
        environment["DOCKER_HOST"] = f"unix://{root}/no-docker.sock"  # nor are its clusters
        environment["PYTHONPATH"] = str(root / "src")  # so that `run` finds the copy's own scripts/sandbox
        for name in ("MANIFESTS", "BASELINE", "SCENARIOS", "KEEP", "NODES", "SEED", "MAKEFLAGS", "MAKELEVEL", "CI"):
            environment.pop(name, None)
        return Reader(root, environment)

    return new


def left_behind(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name in LEFT_BEHIND or name.endswith("_cache")}


def unpack(archive: Path, directory: Path) -> None:
    """A recorded run: its directory has another name in the archive."""
    with tarfile.open(archive) as files, tempfile.TemporaryDirectory(dir=directory.parents[1]) as aside:
        files.extractall(aside, filter="data")
        (directory.parent).mkdir(exist_ok=True)
        next(Path(aside).iterdir()).rename(directory)


def made_by(page: str) -> set[str]:
    """Directories that a page has its reader make."""
    blocks = documented.blocks(ROOT / page)
    typed = [shlex.split(command.text) for block in blocks for command in block.commands()]
    return {words[-1] for words in typed if words[0] in {"cp", "mkdir"}} | {
        str(Path(block.file).parent) for block in blocks if block.file
    }


def stub(path: Path, line: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{line}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("page", list(dict.fromkeys(command.page for command in HERE)))
def test_the_page_says_what_happens(page, reader, readers):
    """Its files are written and its commands are run, in their order; in a copy of its own if it makes directories."""
    if made := made_by(page):
        reader = readers(made)
    left = [command for command in HERE if command.page == page]
    wrong = []
    for block in documented.blocks(ROOT / page):
        if block.file is not None:
            (reader.root / block.file).parent.mkdir(parents=True, exist_ok=True)
            (reader.root / block.file).write_text(block.content)
            reader.done.clear()
        for command in [each for each in block.commands() if each in left]:
            left.remove(command)
            wrong += differences(command, reader)
    for command in left:  # in sentences
        wrong += differences(command, reader)
    assert not wrong, "\n\n".join(wrong)


def differences(command: Command, reader: Reader) -> list[str]:
    """What happens otherwise than the page says."""
    done = reader.once(command.text)
    said = f"{command.where}\n{done.stdout}"
    exits = TABLE["exits"].get(command.text, command.exits)
    if done.returncode != exits:
        return [f"exits {done.returncode}, not {exits}: {said}"]
    if "Traceback" in done.stdout:
        return [f"a stack trace: {said}"]
    if command.prints and not shows(command.prints, done.stdout):
        return [f"the page shows:\n{command.prints}\nnot what is printed: {said}"]
    return []


def shows(page: str, printed: str) -> bool:
    """The page shows what was printed; a line with nothing but … stands for any lines, trailing blanks do not count."""
    parts = [re.escape(line.rstrip()) for line in page.strip("\n").splitlines()]
    pattern = (
        "\n".join(parts).replace(f"\n{re.escape('…')}\n", "\n(?:.*\n)*?").replace(f"\n{re.escape('…')}", "(?:\n.*)*")
    )
    said = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, said) is not None


def test_shows():
    assert shows("a\n…\nd", "a\nb\nc\nd")
    assert shows("a\n…\nb", "a\nb")
    assert shows("a\n…", "a\nb\nc")
    assert not shows("a\n…\nd", "a\nb\nc")
    assert not shows("a", "a\nb")


@pytest.fixture(scope="module")
def reader(readers):
    return readers()


@pytest.fixture(scope="module")
def asked(reader, tmp_path_factory):
    """Command → how it ended, and what it would have had the sandbox do."""
    logs = tmp_path_factory.mktemp("asked")

    def run(numbered: tuple[int, str]) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
        number, text = numbered
        (log := logs / str(number)).touch()
        done = reader.run(text, log)
        return done, [call.rstrip("\0").split("\0") for call in log.read_text().splitlines()]

    texts = list(dict.fromkeys(command.text for command in ENGINE))
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(texts, pool.map(run, enumerate(texts)), strict=True))


@pytest.fixture(scope="module")
def selected(asked, reader):
    """Arguments of pytest → how many scenarios these select, asked in one process."""
    runs = [tuple(words) for _, calls in asked.values() for call in calls if (words := pytest_arguments(call))]
    script = ROOT / "tests/docs/selected.py"
    words = [sys.executable, script, json.dumps(sorted(set(runs)))]
    done = subprocess.run(words, cwd=reader.root, env=reader.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {tuple(each["arguments"]): each["scenarios"] for each in json.loads(done.stdout.splitlines()[-1])}


def pytest_arguments(call: list[str]) -> list[str] | None:
    """What pytest is given where this call starts it, but for a cluster that stays: here there is none."""
    for at, word in enumerate(call):
        if word == "chroma_qualify.plugin" and call[at - 1] in {"-m", "-p"}:
            words = iter(call[at + 1 :])
            return [each for each in words if each != "--use-cluster" or not next(words)]
    return None


@pytest.mark.parametrize("text", sorted({command.text for command in ENGINE}))
def test_it_gets_to_where_the_engine_starts(text, asked, selected):
    done, calls = asked[text]
    if "no cluster" in done.stdout or "docker" in "".join(done.stdout.lower().splitlines()[-1:]):
        return  # that far: `up` has no engine here, and there is nothing to delete or to list
    runs = [words for call in calls if (words := pytest_arguments(call))]
    assert [words for words in runs if not selected[tuple(words)]] == [], f"{text} selects no scenario"
    if " again " in text:
        assert done.returncode in {0, 1}, done.stdout  # that of the recorded run
        return
    assert done.returncode == 0, done.stdout
    assert bool(runs) == any(word in text for word in ("e2e", "load", " run", "pytest")), calls
