"""The workflows' and the action's own shell, taken out of the YAML and run by bash as GitHub runs it.

What a hosted runner adds (other people's actions, its services) is not here; that it is well formed is for actionlint
and zizmor, see `make lint`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chroma_qualify.cluster.images.catalog import load_catalog

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
HOSTILE = {
    "spaces": "a b  c",
    "a command": "x; touch pwned #",
    "substitution": "$(touch pwned)`touch pwned`${HOME}",
    "quotes": 'it\'s "quoted"',
    "a dash": "-rf",
    "two dashes": "--help",
    "a workflow command": "::error::gotcha",
    "a glob": "*",
}


def action() -> dict:
    return yaml.safe_load((ROOT / "action.yml").read_text())


def expanded(text: str, inputs: dict[str, str], github: dict[str, str]) -> str:
    """The expressions that the action's environment uses, as GitHub fills them in."""

    def value(found: re.Match[str]) -> str:
        context, _, name = found[1].partition(".")
        return {"inputs": inputs, "github": github}[context][name]

    return re.sub(r"\$\{\{ (\S+) \}\}", value, text)


class Runner:
    """One job: a workspace, and the files by which steps tell GitHub something."""

    def __init__(self, directory: Path) -> None:
        self.workspace = directory / "work space"
        self.workspace.mkdir()
        self.output = directory / "output"
        self.summary = directory / "summary"

    def run(self, script: str, env: dict[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """As `shell: bash` is: https://docs.github.com/actions, workflow syntax."""
        self.output.write_text("")
        self.summary.write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "INPUT_"))}
        given = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_OS": "Linux",
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(
            command,
            env={**kept, **given, **env},
            cwd=cwd or self.workspace,
            capture_output=True,
            text=True,
            check=False,
        )

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())

    def act(self, place: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
        """The one step of the action that is ours, with its inputs."""
        described = action()["inputs"]
        (step,) = [step for step in action()["runs"]["steps"] if step.get("id") == "qualify"]
        given = {name: str(each.get("default", "")) for name, each in described.items()} | {
            name.replace("_", "-"): value for name, value in inputs.items()
        }
        assert given.keys() == described.keys()
        env = {name: expanded(text, given, {"action_path": str(place)}) for name, text in step["env"].items()}
        assert "${{" not in step["run"]  # what is given is data, and never part of the script
        return self.run(step["run"], env)


@pytest.fixture
def runner(tmp_path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def place(tmp_path) -> Path:
    """A checkout of the action, whose `scripts/qualify` tells what it was asked, makes a run and ends as it is told."""
    scripts = tmp_path / "action" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "github-action", scripts)
    (scripts / "qualify").write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "wanted = ('MANIFESTS', 'BASELINE', 'SCENARIOS', 'CHROMA_VERSION', 'K8S_VERSION', 'NODES', 'IMAGES', 'SEED',"
        " 'CHROMA_QUALIFY_FROM')\n"
        "run = pathlib.Path('runs/one')\n"
        "run.mkdir(parents=True)\n"
        "asked = {name: os.environ.get(name) for name in wanted}\n"
        "(run / 'asked.json').write_text(json.dumps([sys.argv[1:], asked]))\n"
        "(run / 'report.html').write_text('')\n"
        "(run / 'verdict.json').write_text('')\n"
        "pathlib.Path('runs/latest').symlink_to('one')\n"
        "sys.exit(int(os.environ['SEED'] or 0))\n"
    )
    (scripts / "sandbox").write_text('#!/bin/sh\necho "$*" >>sandboxed\nexit 1\n')
    for name in ("qualify", "sandbox"):
        (scripts / name).chmod(stat.S_IRWXU)
    return scripts.parent


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_an_input_holds_is_data(runner, place, name):
    (runner.workspace / name).mkdir()
    done = runner.act(place, manifests=name, baseline=name, scenario=name, chroma_version=name, nodes=name)
    assert done.returncode == 0, done.stderr
    arguments, asked = json.loads((place / "runs" / "one" / "asked.json").read_text())
    there = str(runner.workspace / name)
    assert arguments == ["e2e"]
    assert [asked[key] for key in ("MANIFESTS", "BASELINE")] == [there, there]
    assert [asked[key] for key in ("SCENARIOS", "CHROMA_VERSION", "NODES")] == [name] * 3
    assert (asked["IMAGES"], asked["CHROMA_QUALIFY_FROM"]) == ("", str(runner.workspace))
    assert not list(runner.workspace.glob("**/pwned"))
    assert not list(place.glob("**/pwned"))
    run = place / "runs" / "one"
    assert runner.outputs() == {
        "verdict": "pass",
        "exit-code": "0",
        "run-directory": str(run),
        "report": str(run / "report.html"),
    }


@pytest.mark.parametrize(
    ("code", "verdict", "fail_on", "ends"),
    [
        (0, "pass", "fail", 0),
        (1, "fail", "fail,infra,unknown", 1),
        (1, "fail", "infra", 0),
        (1, "fail", "never", 0),
        (2, "usage", "never", 2),
        (3, "unknown", "fail", 0),
        (3, "unknown", "fail,unknown", 3),
        (4, "infra", "infra", 4),
        (137, "infra", "infra", 137),
    ],
)
def test_which_verdicts_fail_the_step(runner, place, code, verdict, fail_on, ends):
    (runner.workspace / "m").mkdir()
    done = runner.act(place, manifests="m", seed=str(code), fail_on=fail_on)
    assert done.returncode == ends, done.stderr
    assert (runner.outputs()["verdict"], runner.outputs()["exit-code"]) == (verdict, str(code))


@pytest.mark.parametrize(("code", "tried"), [(0, False), (1, True)])
def test_what_failed_is_tried_again_to_class_it(runner, place, code, tried):
    done = runner.act(place, manifests=".", seed=str(code), again="3")
    assert (done.returncode, runner.outputs()["exit-code"]) == (code, str(code))  # whatever comes of it
    there = place / "sandboxed"
    assert there.exists() == tried
    if tried:
        assert there.read_text() == "run -- .venv/bin/chroma-qualify again runs/one --times=3\n"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"manifests": ""}, "manifests is empty"),
        ({"manifests": "nowhere%0A"}, "there is no directory 'nowhere%250A'"),
        ({"manifests": "no\nwhere"}, "there is no directory 'no%0Awhere'"),
        ({"manifests": ".", "baseline": "nowhere"}, "baseline: there is no directory"),
        ({"manifests": ".", "fail_on": "fail,everything"}, "fail-on names 'everything'"),
        ({"manifests": ".", "again": "often"}, "again is 'often'"),
        ({"manifests": ".", "lint_only": "perhaps"}, "lint-only is 'perhaps'"),
    ],
)
def test_a_wrong_request_is_one_annotation(runner, place, inputs, said):
    done = runner.act(place, **inputs)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    assert line.startswith("::error title=chroma-qualify::")
    assert said in line
    assert runner.outputs() == {"verdict": "usage", "exit-code": "2"}
    assert not (place / "runs").exists()


def test_a_run_that_ended_before_it_began_has_no_directory(runner, place):
    (place / "runs").mkdir()
    (place / "runs" / "latest").symlink_to("earlier")
    (place / "scripts" / "qualify").write_text("#!/bin/sh\nexit 4\n")
    done = runner.act(place, manifests=".")
    assert (done.returncode, runner.outputs()) == (4, {"verdict": "infra", "exit-code": "4"})


def test_the_rules_alone_for_real(runner):
    """Our own checkout as the action, the seed as somebody's manifests."""
    shutil.copytree(ROOT / "tests" / "strangers" / "community-chart", runner.workspace / "chroma")
    seed = ROOT / "tests" / "gauntlet" / "seed"
    (runner.workspace / "seed").mkdir()
    for path in seed.glob("*.yaml"):
        if path.name != "kustomization.yaml":
            shutil.copy(path, runner.workspace / "seed")
    done = runner.act(ROOT, manifests="seed", lint_only="true")
    assert done.returncode == 1, done.stderr
    assert "::error " in done.stdout
    assert "probe-v1-api" in done.stdout
    assert "file=seed/deployment.yaml" in done.stdout  # by its path in the repository
    assert runner.outputs() == {"verdict": "fail", "exit-code": "1"}
    runner.act(ROOT, manifests="chroma", lint_only="true")
    assert runner.outputs()["verdict"] in {"pass", "fail"}


def test_the_cache_follows_from_what_is_compiled(runner, tmp_path):
    (step,) = [step for step in action()["runs"]["steps"] if step.get("id") == "key"]
    place = tmp_path / "it's here"
    shutil.copytree(ROOT / "images" / "go" / "kind", place / "images" / "go" / "kind")
    shutil.copy(ROOT / "images" / "images.toml", place / "images")

    def key() -> str:
        env = {name: expanded(text, {}, {"action_path": str(place)}) for name, text in step["env"].items()}
        done = runner.run(step["run"], env)
        assert done.returncode == 0, done.stderr
        return runner.outputs()["key"]

    first = key()
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert key() == first
    (place / "images" / "go" / "kind" / "go.mod").write_text("module other\n")
    assert key() != first


def test_the_nightly_takes_the_matrix_of_the_file(runner):
    jobs = yaml.safe_load((WORKFLOWS / "nightly.yml").read_text())["jobs"]
    (step,) = [step for step in jobs["matrix"]["steps"] if "run" in step]
    done = runner.run(step["run"], {}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    matrix = json.loads(runner.outputs()["matrix"])["include"]
    assert jobs["e2e"]["strategy"]["matrix"] == "${{ fromJSON(needs.matrix.outputs.matrix) }}"
    used = set(re.findall(r"matrix\.([a-z0-9]+)", yaml.safe_dump(jobs["e2e"]))) - {"outputs"}
    assert all(set(each) == used for each in matrix), used
    assert all(isinstance(value, str) for each in matrix for value in each.values())
    names = [(each["kubernetes"], each["chroma"], each["topology"]) for each in matrix]
    assert len(set(names)) == len(names)  # they name the artifacts


def test_what_is_supported_can_be_had():
    done = subprocess.run([ROOT / "scripts" / "matrix"], capture_output=True, text=True, check=True)
    for each in json.loads(done.stdout)["include"]:
        if each["images"] == "packages":
            assert load_catalog(each["kubernetes"], each["chroma"]).kubernetes == each["kubernetes"]
        else:  # the one that is known by its digest
            assert load_catalog(chroma=each["chroma"]).registry_kubernetes == each["kubernetes"]
        assert each["manifests"] == "" or (ROOT / each["manifests"]).is_dir()
        assert int(each["nodes"]) >= 1


def test_the_page_of_supported_versions_is_made_of_the_file():
    made = subprocess.run([ROOT / "scripts" / "matrix", "--markdown"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "reference" / "supported.md").read_text() == made.stdout, (
        "scripts/matrix --markdown makes it"
    )
    assert subprocess.run([ROOT / "scripts" / "matrix", "--html"], capture_output=True, check=False).returncode == 2


def test_other_peoples_actions_are_pinned_by_commit():
    for path in (ROOT / "action.yml", *WORKFLOWS.glob("*.yml")):
        for used in re.findall(r"(?m)^[ -]*uses: (\S+)(.*)", path.read_text()):
            assert used[0].startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used[0]), (path.name, used)


def called_workflow() -> dict:
    return yaml.safe_load((WORKFLOWS / "qualify.yml").read_text())


def test_the_called_workflow_takes_and_hands_on_every_input_of_the_action():
    (job,) = called_workflow()["jobs"].values()
    (step,) = [step for step in job["steps"] if step.get("id") == "qualify"]
    taken = called_workflow()[True]["workflow_call"]["inputs"]  # YAML 1.1 reads `on` as true
    assert step["with"].keys() == action()["inputs"].keys()
    assert taken.keys() == {*action()["inputs"], "baseline-ref", "timeout-minutes"}
    for name, described in action()["inputs"].items():
        assert f"inputs.{name}" in step["with"][name]
        default = taken[name].get("default", "")
        assert described.get("default", "") == (str(default).lower() if isinstance(default, bool) else default)


@pytest.mark.parametrize(("sha", "ends"), [("", 2), ("0123abc", 0)])
def test_a_called_workflow_that_does_not_know_where_it_is_from_says_so(runner, sha, ends):
    (job,) = called_workflow()["jobs"].values()
    (step,) = [step for step in job["steps"] if step.get("id") == "origin"]
    done = runner.run(step["run"], {"REPOSITORY": "owner/chroma-qualify", "SHA": sha})
    assert (done.returncode, "::error title=chroma-qualify::" in done.stdout) == (ends, ends == 2)
