"""How clients get into a protected candidate: the Secrets that it refers to, and what a client needs of them.

`qualification.yaml` names the Secrets (`access:`, see `qualification`). They are their owner's and seldom among the
manifests, so a run makes its own: a random token, and a certificate with an authority that lives for this run only.
Called by `apply`. What is secret is kept in memory and in the cluster: no file, no log and no `repr` has it.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import dataclasses
import functools
import os
import secrets
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import kubernetes.client

from chroma_qualify.cluster.model import RUN_LABEL, Cluster, Guest
from chroma_qualify.errors import CandidateError, InfraError

if TYPE_CHECKING:
    from chroma_qualify.deployment.objects import Candidate

_TOKEN_BYTES = 32  # of chance
_CERTIFICATE, _PRIVATE_KEY = "tls.crt", "tls.key"


@dataclasses.dataclass(frozen=True, slots=True)
class SecretKey:
    """One entry of a Secret."""

    secret: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """Where the candidate keeps what its clients need.

    Attributes:
        token: the bearer token; None: it asks for none.
        tls: the authority of its certificate (PEM), in the certificate's own Secret; None: it speaks plain HTTP.
    """

    token: SecretKey | None = None
    tls: SecretKey | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the Secrets, each once."""
        return tuple(dict.fromkeys(each.secret for each in (self.token, self.tls) if each is not None))


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """What a client sends and whom it trusts.

    Attributes:
        token: sent as `Authorization: Bearer …`; None: nothing is.
        ca: the authority that the server's certificate must be of, PEM; None: plain HTTP.
    """

    token: str | None = dataclasses.field(default=None, repr=False)
    ca: str | None = dataclasses.field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self.ca else "http"

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """As httpx takes it: the authority, and the name that is asked for."""
        return ssl.create_default_context(cadata=self.ca) if self.ca else True

    @property
    def ca_file(self) -> str | None:
        """A file with the authority, for clients that take nothing else; it is gone when this process ends."""
        return _file_of(self.ca) if self.ca else None


NO_ACCESS = Access()
OPEN = Credentials()


def provide_secrets(cluster: Cluster, candidate: Candidate, namespace: str) -> Credentials:
    """See to it that the Secrets of the candidate's access are there, before anything of it is applied.

    What the manifests hold, or the namespace has already, is taken as it is; the rest is made.

    Raises:
        CandidateError: rule `secret-unusable`: a Secret of the manifests lacks the key, or holds nothing in it.
        InfraError: the API server does not take a Secret of ours.
    """
    access = candidate.access
    if not access.secrets:
        return OPEN
    found: dict[str, Mapping[str, str]] = {}
    with contextlib.closing(cluster.api_client()) as api:
        core = kubernetes.client.CoreV1Api(api)
        for name in access.secrets:
            held = _in_manifests(candidate.objects, name)
            if held is None:
                held = _in_cluster(core, namespace, name)
            if held is None:
                held = _made(access, name, candidate.service, namespace)
                _create(core, namespace, name, held, cluster.guest)
            found[name] = held
    return Credentials(token=_entry(found, access.token), ca=_entry(found, access.tls))


def _entry(found: Mapping[str, Mapping[str, str]], wanted: SecretKey | None) -> str | None:
    if wanted is None:
        return None
    value = found[wanted.secret].get(wanted.key, "").rstrip("\n")
    if not value:
        raise CandidateError(
            "secret-unusable",
            f"the Secret {wanted.secret} holds nothing under {wanted.key}, so no client can get in",
            remedy="fill it, or leave the Secret out of the manifests: the run makes its own then",
        )
    return value


def _in_manifests(objects: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, str] | None:
    for item in objects:
        if item.get("kind") == "Secret" and item["metadata"]["name"] == name:
            return {**_decoded(item.get("data")), **(item.get("stringData") or {})}
    return None


def _in_cluster(core: kubernetes.client.CoreV1Api, namespace: str, name: str) -> Mapping[str, str] | None:
    try:
        return _decoded(core.read_namespaced_secret(name, namespace).data)
    except kubernetes.client.ApiException as error:
        if error.status == 404:
            return None
        raise InfraError(f"the Secret {name} of {namespace} cannot be read: {error.reason}") from error


def _decoded(data: Mapping[str, str] | None) -> dict[str, str]:
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in (data or {}).items()}


def _made(access: Access, name: str, service: str, namespace: str) -> dict[str, str]:
    """What a Secret of this name must hold."""
    held: dict[str, str] = {}
    if access.token is not None and access.token.secret == name:
        held[access.token.key] = secrets.token_hex(_TOKEN_BYTES)
    if access.tls is not None and access.tls.secret == name:
        ca, certificate, key = certificate_for(service, namespace)
        held |= {access.tls.key: ca, _CERTIFICATE: certificate, _PRIVATE_KEY: key}
    return held


def certificate_for(service: str, namespace: str) -> tuple[str, str, str]:
    """An authority, a certificate of it with its chain, and the certificate's key, all PEM.

    The certificate is good for the Service's names inside the cluster, and for this machine's own address, which is
    where a forward listens.
    """
    import trustme  # it takes its time, and few candidates need it

    authority = trustme.CA(organization_name="chroma-qualify", organization_unit_name="this run only")
    inside = (service, f"{service}.{namespace}", f"{service}.{namespace}.svc")
    made = authority.issue_cert(*inside, f"{inside[-1]}.cluster.local", "localhost", "127.0.0.1")
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    return authority.cert_pem.bytes().decode(), chain.decode(), made.private_key_pem.bytes().decode()


def _create(
    core: kubernetes.client.CoreV1Api, namespace: str, name: str, held: Mapping[str, str], guest: Guest | None
) -> None:
    labels = {"app.kubernetes.io/managed-by": "chroma-qualify", **({RUN_LABEL: guest.run} if guest else {})}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "type": "kubernetes.io/tls" if _CERTIFICATE in held else "Opaque",
        "stringData": dict(held),
    }
    try:
        core.create_namespaced_secret(namespace, body)
    except kubernetes.client.ApiException as error:  # its body may quote the request, and with it the token
        raise InfraError(f"the Secret {name} cannot be made in {namespace}: {error.status} {error.reason}") from None


@functools.cache
def _file_of(text: str) -> str:
    descriptor, path = tempfile.mkstemp(prefix="chroma-qualify-", suffix=".pem")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    atexit.register(functools.partial(_remove, path))
    return path


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 (at exit, without more imports)
