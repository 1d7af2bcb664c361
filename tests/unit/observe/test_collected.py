"""What is collected of a failed scenario tells no password."""

import json
import subprocess

import yaml

from chroma_qualify.observe.collect import collect

TOKEN = "s3cret-t0ken"
MAP = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"PASSWORD": TOKEN, "port": "8000"}}


class _Cluster:
    """Answers as kubectl would."""

    def __init__(self, objects):
        self.objects = objects

    def run_kubectl(self, *command, **_):
        said = {
            "api-resources": "configmaps\nsecrets\n",
            "get": self.objects if "json" in command else "secret/s\n",
            "describe": f"    Args:\n      --token={TOKEN}\n    Env:\n      API_KEY:  {TOKEN}\n      MODE:  plain\n",
        }
        return subprocess.CompletedProcess(command, 0, said.get(command[0], ""), "")


def test_no_password_is_written(tmp_path):
    collect(_Cluster(json.dumps({"kind": "List", "items": [MAP]})), "ns", tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert TOKEN not in repr(written)
    assert "MODE:  plain" in written["describe-pods.txt"]
    assert yaml.safe_load(written["objects.yaml"])["items"][0]["data"]["port"] == "8000"
    assert "collect-errors.txt" not in written


def test_half_an_answer_is_an_error(tmp_path):
    collect(_Cluster(json.dumps(MAP)[:-5]), "ns", tmp_path)
    assert "objects.yaml" in (tmp_path / "collect-errors.txt").read_text()
    assert not (tmp_path / "objects.yaml").exists()
