"""Broken variants of the proxy's configuration, which `intruder` must find: a test that cannot fail is no test.

All stand side by side in one proxy, each on a port of its own, made from the very configuration that the components
render. Where Chroma should be is a stub that lets everybody in and listens on all addresses, which is a fault, too.
Used by test_authentication.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from chroma_qualify.deployment.objects import Candidate

NAME = "broken-doors"
WHOLE = 9000  # the unchanged check, the control
STUB = 8001
_EMPTY = "/run/secrets/empty"
_GIVEN = "{http.request.header.Authorization}"
_TOKEN = 'ph(req, "file./run/secrets/chromadb-token/token")'
_BEARER = f'{_GIVEN}.startsWith("Bearer ")'
_WHOLE_TOKEN = f"{_GIVEN}.substring(7) == {_TOKEN}"

Change = Callable[[str], str]


def _replaced(*pairs: tuple[str, str]) -> Change:
    def change(text: str) -> str:
        for old, new in pairs:
            assert old in text, f"the proxy's check has no {old!r} any more: change its broken variant, too"
            text = text.replace(old, new)
        return text

    return change


def _header_matcher(text: str) -> str:
    """Caddy's own matcher: one right header among several is enough."""
    matcher = '@stranger not header Authorization "Bearer {file./run/secrets/chromadb-token/token}"\n'
    changed, times = re.subn(r"@stranger expression <<CEL\n.*?\n\s*CEL\n", matcher, text, flags=re.DOTALL)
    assert times == 1
    return changed


# What is wrong → how the check is changed, on ports from 9001 on.
CHECKS: Mapping[str, Change] = {
    "a path goes unchecked": _replaced(("!(", '{http.request.uri.path} != "/docs" && !(')),
    "the heartbeat goes unchecked": _replaced(("!(", '!{http.request.uri.path}.startsWith("/api/v2/heartbeat") && !(')),
    "a method goes unchecked": _replaced(("!(", '{http.request.method} != "OPTIONS" && !(')),
    "the case of letters is ignored": _replaced(
        (_WHOLE_TOKEN, f"{_GIVEN}.substring(7).lowerAscii() == string({_TOKEN}).lowerAscii()")
    ),
    "the beginning is enough": _replaced((_WHOLE_TOKEN, f"string({_TOKEN}).startsWith({_GIVEN}.substring(7))")),
    "more than the token is right": _replaced((_WHOLE_TOKEN, f"{_GIVEN}.substring(7).startsWith(string({_TOKEN}))")),
    "any scheme is right": _replaced((_BEARER, f'{_GIVEN}.contains(" ")'), (".substring(7) ==", '.split(" ")[1] ==')),
    "one right header among several is enough": _header_matcher,
    "an empty token lets everybody in": _replaced(
        ("!(", f'{_TOKEN} != "" && !('), ("/run/secrets/chromadb-token", _EMPTY)
    ),
}
EMPTY = 9100  # the unchanged check with an empty token, the control of the last one
HEARTBEAT = 9200  # a heartbeat port that passes everything on


def port_of(wrong: str) -> int:
    """Where a broken check answers."""
    return WHOLE + 1 + list(CHECKS).index(wrong)


def objects(candidate: Candidate, namespace: str) -> list[dict[str, Any]]:
    """The pod, its configuration and its empty token, from the candidate's own proxy."""
    parts = next(
        item["data"] for item in candidate.objects if item["kind"] == "ConfigMap" and "auth.caddy" in item["data"]
    )
    check = parts["auth.caddy"]
    sites = {WHOLE: check, EMPTY: check.replace("/run/secrets/chromadb-token", _EMPTY)}
    sites |= {port_of(wrong): change(check) for wrong, change in CHECKS.items()}
    text = parts["Caddyfile"] + f":{STUB} {{\n\trespond in 200\n}}\n"
    text += f":{HEARTBEAT} {{\n\treverse_proxy 127.0.0.1:{STUB}\n}}\n"
    for port, site in sites.items():
        text += f":{port} {{\n{site}\n\thandle {{\n\t\trespond in 200\n\t}}\n}}\n"
    pod = candidate.deployment["spec"]["template"]["spec"]
    proxy = next(dict(item) for item in pod["initContainers"] if item["name"] == "proxy")
    for key in ("restartPolicy", "startupProbe", "livenessProbe"):
        proxy.pop(key, None)
    proxy["readinessProbe"] = {"tcpSocket": {"port": WHOLE}, "periodSeconds": 1}
    proxy["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
    proxy["volumeMounts"] = [
        {"name": "config", "mountPath": "/etc/chroma"},
        {"name": "token", "mountPath": "/run/secrets/chromadb-token"},
        {"name": "empty", "mountPath": _EMPTY},
    ]
    secret = candidate.access.token
    assert secret is not None
    where = {"name": NAME, "namespace": namespace}
    volumes = [
        {"name": "config", "configMap": {"name": NAME}},
        {"name": "token", "secret": {"secretName": secret.secret, "items": [{"key": secret.key, "path": "token"}]}},
        {"name": "empty", "secret": {"secretName": NAME}},
    ]
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": pod["securityContext"],
        "containers": [proxy],
        "volumes": volumes,
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": {"Caddyfile": text}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": where, "stringData": {"token": ""}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": where, "spec": spec},
    ]


# What is wrong with a token → the token, and what the proxy's container says of it.
BAD_TOKENS: Mapping[str, tuple[str, str]] = {
    "empty": ("", "the key token of the Secret chromadb-token is empty"),
    "short": ("secret", "the key token of the Secret chromadb-token has 6 characters, at least 16 are needed"),
}
