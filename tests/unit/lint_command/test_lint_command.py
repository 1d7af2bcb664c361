"""`chroma-qualify lint`: what it takes, what it says, how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
LOST = "two-servers-one-volume"
SEED = ROOT / "tests" / "gauntlet" / "seed"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
NO_CHROMA = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
HEAVY = ("kubernetes", "chromadb", "pytest", "pandas", "numpy", "httpx", "locust", "pydantic", "websockets", "trustme")


def rules(out: str) -> set[str]:
    return {finding["rule"] for finding in json.loads(out)["findings"]}


def test_a_directory_of_plain_yaml_needs_no_kubectl(lint, manifests, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, _ = lint(manifests, "--format", "json")
    assert code == 1
    assert LOST in rules(out)


def test_a_kustomization_without_anything_to_render_it_says_what_to_do(lint, manifests, monkeypatch, tmp_path):
    (manifests / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, err = lint(manifests)
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert "install kubectl" in err


@needs_kubectl
@pytest.mark.parametrize("name", ["", "kustomization.yaml"])
def test_a_kustomization_and_its_file(lint, manifests, name):
    (manifests / "kustomization.yaml").write_text("namePrefix: my-\nresources: [all.yaml]\n")
    code, out, _ = lint(manifests / name, "--format", "json")
    document = json.loads(out)
    (found,) = (each for each in document["findings"] if each["rule"] == LOST)
    assert code == 1
    assert found["object"] == "Deployment/my-vectors"
    assert found["file"] == str(manifests / "all.yaml")


def test_one_file_and_what_is_piped_in(lint, manifests):
    of_file = lint(manifests / "all.yaml", "--format", "json")
    piped = lint("-", "--format", "json", stdin=(manifests / "all.yaml").read_bytes())
    assert of_file[0] == piped[0] == 1
    assert rules(of_file[1]) == rules(piped[1])
    assert {each["file"] for each in json.loads(piped[1])["findings"]} == {None}


def test_what_a_template_of_helm_is_and_is_not(lint, tmp_path):
    (tmp_path / "Chart.yaml").write_text("name: c\n")
    code, _, err = lint(tmp_path)
    assert code == 2
    assert "helm template" in err


def test_nothing_to_judge_is_unknown_and_not_clean(lint):
    code, out, _ = lint("-", "--format", "json", stdin=NO_CHROMA)
    assert code == 3
    assert (json.loads(out)["verdict"], rules(out)) == ("unknown", {"no-chroma-workload"})


def test_what_is_clean_ends_with_0(lint, manifests):
    text = (manifests / "all.yaml").read_text().replace("replicas: 2", "replicas: 1")
    code, out, _ = lint("-", "--format", "json", stdin=text.encode())
    failing = {each["rule"] for each in json.loads(out)["findings"] if each["severity"] == "fail"}
    assert (code == 0) == (not failing)
    assert LOST not in failing


@pytest.mark.parametrize(
    ("version", "said"), [("1.37", ""), ("1.30", ""), ("1.99", "1.25 to"), ("new", "not a version")]
)
def test_the_schemas_of_a_version(lint, manifests, version, said):
    (manifests / "all.yaml").write_text((manifests / "all.yaml").read_text().replace("replicas", "replica"))
    code, out, err = lint(manifests, "--format", "json", "--kubernetes", version)
    assert code == (2 if said else 1)
    assert said in err.replace("\n", " ")
    if not said:
        (found,) = (each for each in json.loads(out)["findings"] if each["rule"] == "schema-invalid")
        assert (found["path"], found["line"]) == ("spec.replica", 6)
        assert json.loads(out)["kubernetes"] == f"{version}.0"


def test_a_kind_that_nobody_described_is_told_and_no_error(lint, manifests):
    (manifests / "x.yaml").write_text("apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n")
    assert json.loads(lint(manifests, "--format", "json")[1])["without_schema"] == ["Widget/w"]
    assert "Widget/w" in lint(manifests)[1]


def test_output_goes_to_a_file_and_the_count_to_the_terminal(lint, manifests, tmp_path):
    code, out, _ = lint(manifests, "--format", "json", "--output", tmp_path / "found.json")
    assert (code, out.count("\n")) == (1, 1)
    assert LOST in rules((tmp_path / "found.json").read_text())
    code, _, err = lint(manifests, "--output", tmp_path / "no" / "such")
    assert (code, err.count("\n")) == (2, 1)


def test_the_rules_are_listed_and_explained(lint):
    code, out, _ = lint("--list")
    assert code == 0
    assert f"{LOST}: " in out
    code, out, _ = lint("--explain", LOST)
    assert (code, out.splitlines()[0]) == (0, f"# {LOST}")
    code, _, err = lint("--explain", "two-servers")
    assert code == 2
    assert LOST in err


def test_without_anything_it_says_how_it_is_used(lint):
    code, out, err = lint()
    assert code == 2
    assert "--explain" in out + err


@needs_kubectl
def test_nothing_that_takes_long_is_imported():
    said = f"""
import sys
sys.argv = ["chroma-qualify", "lint", "tests/gauntlet/seed"]
from chroma_qualify import cli
try:
    cli.main()
except SystemExit:
    print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.strip() == "[]"
    assert LOST in done.stdout


@needs_kubectl
def test_the_command_says_what_a_run_says(lint):
    """Both find the same in the seed: the run by `Candidates.lint`, after `load_candidate`."""
    from chroma_qualify.deployment.linting import lint_candidate
    from chroma_qualify.deployment.render import load_candidate
    from chroma_qualify.deployment.schemas import cluster_schemas

    candidate = load_candidate(SEED, Path(shutil.which("kubectl") or ""))
    ran = lint_candidate(candidate.objects, str(SEED), cluster_schemas())
    said = json.loads(lint(SEED, "--format", "json")[1])["findings"]
    assert [(each["rule"], each["object"], each["path"]) for each in said] == [
        (each.rule, each.object, each.path) for each in ran.findings
    ]
    assert len(said) >= 8


def test_a_key_is_not_read_otherwise_than_kubernetes_reads_it(lint, manifests):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1:30, b: 2026-01-01, c: =}\n"
    (manifests / "c.yaml").write_text(text)
    assert "schema-invalid" not in rules(lint(manifests, "--format", "json")[1])
    assert yaml.safe_load("a: 1:30") == {"a": 90}  # what the usual loader makes of it
