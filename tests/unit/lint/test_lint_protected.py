"""The components `auth` and `tls`, as kustomize renders them, each alone and both: the linter has nothing to say."""

import functools
import subprocess
from pathlib import Path

import pytest
import yaml
from test_lint_manifests import MANIFESTS, REPOSITORY, only, render

from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.deployment.qualification import load_access
from chroma_qualify.lint import lint_objects

OVERLAYS = REPOSITORY / "tests/overlays"
NAMES = ("auth", "tls", "auth-tls")
PORTS = {"http": 8000, "heartbeat": 8002}


@functools.cache
def rendered(name):
    return render(OVERLAYS / name)


def with_components(directory, topology, *components):
    relative = Path("../" * len(directory.resolve().parts[1:]))
    kustomization = {
        "resources": [str(relative / (MANIFESTS / topology).relative_to("/"))],
        "components": [str(relative / (MANIFESTS / "components" / each).relative_to("/")) for each in components],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(directory)


def pod(objects):
    return only(objects, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_say(name):
    assert lint_objects(rendered(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_chroma_is_found_behind_its_proxy(name):
    found = Candidate.from_objects(rendered(name), OVERLAYS / name, access=load_access(OVERLAYS / name))
    assert (found.container, found.container_port, found.server_port) == ("chromadb", 8000, 8001)
    assert (found.service, found.service_port, found.claim) == ("chromadb-service", 8000, "chromadb-pvc")
    assert set(found.access.secrets) == {f"chromadb-{'token' if each == 'auth' else each}" for each in name.split("-")}


@pytest.mark.parametrize(
    ("topology", "components"),
    [
        ("base", ("auth", "tls")),
        ("overlays/autoscaling", ("tls", "auth")),
        ("overlays/single-writer", ("auth", "tls")),
    ],
)
def test_in_any_order_on_any_topology(topology, components, tmp_path):
    objects = with_components(tmp_path, topology, *components)
    check, proxy = pod(objects)["initContainers"]
    assert (check["name"], proxy["name"], proxy["restartPolicy"]) == ("proxy-check", "proxy", "Always")
    mounted = {f"/run/secrets/chromadb-{'token' if each == 'auth' else each}" for each in components}
    assert {each["mountPath"] for each in check["volumeMounts"]} == mounted
    assert {each["mountPath"] for each in proxy["volumeMounts"]} == {"/etc/chroma", *mounted}
    assert {port["name"]: port["containerPort"] for port in proxy["ports"]} == PORTS
    files = only(objects, "ConfigMap")["data"].keys()
    assert files == {"config.yaml", "Caddyfile", *(f"{each}.caddy" for each in components)}


def test_chroma_listens_for_its_proxy_only():
    (server,) = pod(rendered("auth-tls"))["containers"]
    environment = {each["name"]: each["value"] for each in server["env"]}
    assert (environment["CHROMA_LISTEN_ADDRESS"], environment["CHROMA_PORT"]) == ("127.0.0.1", "8001")
    assert not server["ports"]
    probes = [server[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert probes == [{"path": "/api/v2/heartbeat", "port": 8002}] * 3
    assert not any("secret" in each["mountPath"] for each in server["volumeMounts"])


def test_what_restricted_asks_for():
    spec = pod(rendered("auth-tls"))
    for container in [*spec["containers"], *spec["initContainers"]]:
        context = container["securityContext"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert set(context["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"chromadb-token/token": "0123456789abcdef"}, ""),
        ({"chromadb-token/token": "0123456789abcdef\n", "chromadb-token/previous": "A" * 64}, ""),
        ({"chromadb-token/token": "0123456789abcdef", "chromadb-tls/tls.key": "k"}, ""),
        ({"chromadb-token/token": ""}, "the key token of the Secret chromadb-token is empty"),
        ({"chromadb-token/token": "\n"}, "the key token of the Secret chromadb-token is empty"),
        ({"chromadb-token/token": "secret"}, "the key token of the Secret chromadb-token has 6 characters"),
        ({"chromadb-token/token": "0123456789 abcdef"}, "the key token of the Secret chromadb-token has a character"),
        ({"chromadb-token/token": "0123456789abcde*"}, "the key token of the Secret chromadb-token has a character"),
        (
            {"chromadb-token/token": "0123456789abcdef", "chromadb-token/previous": ""},
            "the key previous of the Secret chromadb-token is empty",
        ),
        ({"chromadb-tls/tls.crt": ""}, "the key tls.crt of the Secret chromadb-tls is empty"),
    ],
)
def test_bad_secrets_are_named(entries, said, tmp_path):
    for name, text in entries.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    shell, option, script = pod(rendered("auth-tls"))["initContainers"][0]["command"]
    done = subprocess.run(
        [shell, option, script.replace("/run/secrets", str(tmp_path))], check=False, capture_output=True, text=True
    )
    assert done.stderr.startswith(f"the proxy does not start: {said}" if said else "")
    assert (done.returncode, bool(done.stderr)) == ((1, True) if said else (0, False))
    assert not any(text.strip() and text.strip() in done.stderr for text in entries.values())
