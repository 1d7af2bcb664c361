"""How clients get into a protected candidate: what qualification.yaml says, and the Secrets that are made of it."""

import ssl
from pathlib import Path

import kubernetes.client
import pytest
import yaml

from chroma_qualify.deployment import access
from chroma_qualify.deployment.access import NO_ACCESS, OPEN, Access, Credentials, SecretKey, certificate_for
from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.deployment.qualification import load_access, load_promises
from chroma_qualify.deployment.render import load_candidate
from chroma_qualify.errors import CandidateError, UsageError

TOKEN, TLS = SecretKey("t", "token"), SecretKey("c", "ca.crt")
POD = {
    "containers": [{"name": "chroma", "image": "chromadb/chroma:1.5.9", "ports": [{"containerPort": 8000}]}],
    "volumes": [{"name": "t", "secret": {"secretName": "t"}}],
}
OBJECTS = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "db"},
        "spec": {"template": {"metadata": {"labels": {"app": "db"}}, "spec": POD}},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db"},
        "spec": {"selector": {"app": "db"}, "ports": [{"port": 80, "targetPort": 8000}]},
    },
]


class FakeCore:
    """The API server's Secrets."""

    def __init__(self, held=None):
        self.held = held or {}

    def read_namespaced_secret(self, name, _):
        if name not in self.held:
            raise kubernetes.client.ApiException(status=404)
        return kubernetes.client.V1Secret(data=self.held[name])

    def create_namespaced_secret(self, _, body):
        made = body["stringData"]
        self.held[body["metadata"]["name"]] = {
            key: access.base64.b64encode(text.encode()).decode() for key, text in made.items()
        }


class FakeCluster:
    guest = None

    def api_client(self):
        return kubernetes.client.ApiClient(kubernetes.client.Configuration(host="http://nowhere.invalid"))


@pytest.fixture
def core(monkeypatch):
    fake = FakeCore()
    monkeypatch.setattr(kubernetes.client, "CoreV1Api", lambda _: fake)
    return fake


def candidate(given, *more):
    return Candidate.from_objects([*OBJECTS, *more], Path("there"), access=given)


def secret(name, **fields):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


def write(directory, document):
    (directory / "qualification.yaml").write_text(yaml.safe_dump(document))
    return directory


def test_what_the_file_says(tmp_path):
    assert load_access(tmp_path) == NO_ACCESS
    given = {"token": {"secret": "t", "key": "token"}, "tls": {"secret": "c", "key": "ca.crt"}}
    assert load_access(write(tmp_path, {"access": given})) == Access(TOKEN, TLS)
    assert not load_promises(tmp_path).stated, "access is no promise"


@pytest.mark.parametrize(
    "given",
    ["x", [], {}, {"cookie": {}}, {"token": "t"}, {"token": {"secret": "t"}}, {"tls": {"secret": "", "key": 1}}],
)
def test_bad_access_is_one_sentence(given, tmp_path):
    with pytest.raises(UsageError, match="access") as error:
        load_access(write(tmp_path, {"access": given}))
    assert "\n" not in error.value.message


def test_a_secret_that_no_pod_uses_is_misspelt(tmp_path):
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(OBJECTS))
    write(tmp_path, {"access": {"token": {"secret": "t", "key": "token"}}})
    assert load_candidate(tmp_path, Path("kubectl")).access == Access(TOKEN)
    write(tmp_path, {"access": {"token": {"secret": "tt", "key": "token"}}})
    with pytest.raises(UsageError, match="names the Secret tt, which deployment/db does not use"):
        load_candidate(tmp_path, Path("kubectl"))


def test_without_access_nothing_is_asked(core):
    assert access.provide_secrets(None, candidate(NO_ACCESS), "ns") == OPEN


def test_what_is_missing_is_made_once(core):
    given = candidate(Access(TOKEN, TLS))
    first = access.provide_secrets(FakeCluster(), given, "ns")
    assert len(first.token) >= 32
    assert core.held.keys() == {"t", "c"}
    assert core.held["c"].keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert access.provide_secrets(FakeCluster(), given, "ns") == first
    assert first.headers == {"Authorization": f"Bearer {first.token}"}
    assert first.scheme == "https"
    assert first.token not in repr(first)
    assert Path(first.ca_file).read_text() == first.ca


def test_what_the_manifests_hold_is_taken(core):
    coded = access.base64.b64encode(b"from-data\n").decode()
    for fields, token in (({"data": {"token": coded}}, "from-data"), ({"stringData": {"token": "plain"}}, "plain")):
        assert (
            access.provide_secrets(FakeCluster(), candidate(Access(TOKEN), secret("t", **fields)), "ns").token == token
        )
    assert not core.held


@pytest.mark.parametrize("fields", [{}, {"stringData": {"token": ""}}, {"stringData": {"other": "x"}}])
def test_an_empty_secret_of_the_manifests_is_refused(core, fields):
    with pytest.raises(CandidateError, match="the Secret t holds nothing under token") as error:
        access.provide_secrets(FakeCluster(), candidate(Access(TOKEN), secret("t", **fields)), "ns")
    assert error.value.rule == "secret-unusable"


def test_the_certificate_is_good_for_the_service_and_for_a_forward(tmp_path):
    ca, certificate, key = certificate_for("db", "ns")
    (tmp_path / "both").write_text(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both")
    for name in ("db.ns.svc.cluster.local", "db", "127.0.0.1", "localhost"):
        shake_hands(context, Credentials(ca=ca).verify, name)
    other, _, _ = certificate_for("db", "ns")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, Credentials(ca=other).verify, "db")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, Credentials(ca=ca).verify, "another")


def shake_hands(server, client, name):
    """A handshake in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(down, up, server_hostname=name)
    right = server.wrap_bio(up, down, server_side=True)
    for _ in range(5):
        for side in (left, right):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
