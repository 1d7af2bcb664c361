"""Defaults from a file: what is taken, what beats it, and what is refused in one sentence."""

from __future__ import annotations

import re

import pytest
import typer

from chroma_qualify import cli
from chroma_qualify.cli.config import Settings, options_of, read_settings
from chroma_qualify.cli.lint import lint
from chroma_qualify.cli.run import run
from chroma_qualify.errors import UsageError

RUN, LINT = options_of(run), options_of(lint)


def settings(directory) -> Settings:
    return read_settings(directory, RUN, LINT)


def test_without_a_file_there_are_no_settings(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 9\n")
    assert settings(tmp_path) == Settings()
    # Nor where it cannot even be asked whether there is one.
    assert settings(tmp_path / ("x" * 300)) == Settings()


@pytest.mark.parametrize(
    ("name", "head", "table"),
    [
        ("chroma-qualify.toml", "", "[lint]"),
        ("pyproject.toml", "[tool.chroma-qualify]\n", "[tool.chroma-qualify.lint]"),
    ],
)
def test_both_files_say_the_same(tmp_path, name, head, table):
    (tmp_path / name).write_text(
        f'{head}manifests = "deploy"\ntime-limit = "30m"\nfault = ["pod-kill", "dns-down"]\nscenario = "recall"\n'
        f'nodes = 2\nkeep = true\nformat = "json"\n{table}\nvectors = 1000\nkubernetes = "1.37"\n'
    )
    assert settings(tmp_path) == Settings(
        tmp_path / name,
        {
            "manifests": "deploy", "time_limit": "30m", "fault": ["pod-kill", "dns-down"], "scenario": ["recall"],
            "nodes": 2, "keep": True, "form": "json",
        },
        {"vectors": 1000, "kubernetes": "1.37"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nodse = 2", "there is no setting 'nodse'; there are baseline, chroma-version, cluster"),
        ('nodes = "2"', "nodes is '2', and must be a whole number"),
        ("nodes = true", "nodes is True, and must be a whole number"),
        ("nodes = 1.5", "nodes is 1.5, and must be a whole number"),
        ("nodes = [1]", r"nodes is \[1\], and must be a whole number"),
        ("keep = 1", "keep is 1, and must be true or false"),
        ("manifests = 3", "manifests is 3, and must be a text"),
        ("fault = [1]", "fault is 1, and must be a text or a list of such"),
        ("seed = 2026-01-01", "seed is datetime.date"),
        ("yes = true", "there is no setting 'yes'"),
        ("suite = 'load'", "there is no setting 'suite'; there are (?!.*(suite|use-cluster|only))"),
        ("run_dir = 'x'", "there is no setting 'run_dir'"),
        ("lint = 3", "lint is no table"),
        ("[lint]\nrules = 1", "table lint: there is no setting 'rules'; there are dimensions, kubernetes"),
        ("[lint]\nvectors = 'many'", "table lint: vectors is 'many', and must be a whole number"),
        ("nodes = ", "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
        ("nodes = 1\nnodes = 2", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, text, sentence):
    (tmp_path / "chroma-qualify.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        settings(tmp_path)
    said = f"{refused.value.message}; {refused.value.remedy}"
    assert re.search(sentence, said)
    assert "\n" not in said


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "chroma-qualify.toml").write_bytes(b"nodes = \xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        settings(tmp_path)


def test_two_files_are_refused(tmp_path):
    (tmp_path / "chroma-qualify.toml").write_text("nodes = 1")
    (tmp_path / "pyproject.toml").write_text("[tool.chroma-qualify]\nnodes = 2")
    with pytest.raises(UsageError, match="configure chroma-qualify"):
        settings(tmp_path)


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """What the command `run` is called with, given arguments, in a directory with a file."""
    (tmp_path / "chroma-qualify.toml").write_text(
        'nodes = 3\nscenario = "file"\ntime-limit = "1h"\n[lint]\nvectors = 5\n'
    )
    monkeypatch.chdir(tmp_path)

    def parse(*args: str):
        monkeypatch.setattr("sys.argv", ["chroma-qualify", "run", *args])
        group = typer.main.get_command(cli.app)
        with group.make_context("chroma-qualify", ["run", *args]) as context:
            context.invoked_subcommand = "run"
            cli.settings(context)
            command = group.get_command(context, "run")
            with command.make_context("run", list(args), parent=context) as inner:
                return inner.params

    return parse


def test_the_command_line_beats_the_environment_which_beats_the_file(parsed, monkeypatch):
    found = parsed()
    assert (found["nodes"], list(found["scenario"]), found["time_limit"]) == (3, ["file"], "1h")
    monkeypatch.setenv("CHROMA_QUALIFY_NODES", "4")
    monkeypatch.setenv("CHROMA_QUALIFY_SCENARIO", "a or b")
    found = parsed()
    assert (found["nodes"], list(found["scenario"]), found["time_limit"]) == (4, ["a or b"], "1h")
    found = parsed("--nodes=5", "--scenario", "line", "-k", "x")
    assert (found["nodes"], list(found["scenario"]), found["time_limit"]) == (5, ["line", "x"], "1h")


@pytest.fixture
def refused(monkeypatch, tmp_path, capsys):
    """Exit code and standard error of the whole command line, in one line."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["chroma-qualify", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), " ".join(capsys.readouterr().err.replace("│", " ").split())

    return call


def test_a_variable_that_is_wrong_is_named(refused, monkeypatch):
    monkeypatch.setenv("CHROMA_QUALIFY_NODES", "x")
    code, said = refused("run")
    assert code == 2
    assert "'--nodes' (env var: 'CHROMA_QUALIFY_NODES'): 'x'" in said
    assert "CHROMA_QUALIFY_NODES" not in refused("run", "--nodes=y")[1]


def test_a_plan_has_the_defaults_of_a_run(tmp_path, refused):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "qualification.yaml").write_text("unheard-of: true\n")
    (tmp_path / "chroma-qualify.toml").write_text('manifests = "deploy"\nseed = 77\nkeep = true\n')
    code, said = refused("plan")
    assert code == 2
    assert "deploy/qualification.yaml" in said
    (tmp_path / "chroma-qualify.toml").write_text("nodes = ")
    code, said = refused("plan")
    assert (code, said.count("cannot be read")) == (2, 1)
