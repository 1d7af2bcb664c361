"""What we may do in a cluster that is not ours, asked of its API server before anything is made.

The rights that a run needs are a file, manifests/rbac/run-role.yaml: what is asked for here is exactly what that file
gives. Used by the plugin before a run, and whenever a run makes a namespace of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes.client
import urllib3
import yaml

from chroma_qualify.cluster.model import RUN_LABEL, Cluster
from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.errors import InfraError, UsageError

_SOON = 30.0  # s until a binding counts: the API server's authorizer follows by a watch of its own
_BINDING = "chroma-qualify-run"
_TIMEOUT = (5.0, 20.0)  # s, to connect and to read


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one kind of object; `resource` with its subresource, as in `pods/log`."""

    group: str
    resource: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {kind}{f' {self.name}' if self.name else ''}"


def read_rights(path: Path, kind: str) -> tuple[Right, ...]:
    """The rights that the Roles or ClusterRoles of a file give, in its order.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        documents = [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"the rights of a run cannot be read: {error}") from error
    return tuple(
        Right(group, resource, verb, name)
        for item in documents
        if item["kind"] == kind
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or ("",)
    )


def missing(cluster: Cluster, namespace: str, rights: Sequence[Right]) -> tuple[Right, ...]:
    """Those of the rights that we do not have in a namespace, which need not exist.

    All are looked up in one review of rules; what it does not show is asked for by itself, for not every authorizer
    can list its rules.

    Raises:
        InfraError: the API server does not answer.
    """
    with contextlib.closing(cluster.api_client()) as api:
        reviews = kubernetes.client.AuthorizationV1Api(api)
        try:
            told = reviews.create_self_subject_rules_review(
                {"spec": {"namespace": namespace}}, _request_timeout=_TIMEOUT
            ).status
            rules = told.resource_rules or ()
            return tuple(
                right
                for right in rights
                if not any(_covers(rule, right) for rule in rules) and not _allowed(reviews, namespace, right)
            )
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(cluster, error) from error


def unreachable(cluster: Cluster, error: Exception) -> InfraError:
    """One sentence for an API server that does not do what it is asked."""
    said = f"{error.status} {error.reason}" if isinstance(error, kubernetes.client.ApiException) else str(error)
    return InfraError(
        f"the API server of context {cluster.name} does not answer: {' '.join(said.split())[:300]}",
        remedy=f"try `kubectl --context {cluster.name} version`",
    )


def grant(cluster: Cluster, namespace: str) -> None:
    """Bind the run's ClusterRole to ourselves in a namespace that we made, and wait until that counts.

    So what the run may do with pods and Secrets it may do in its own namespaces only.

    Raises:
        InfraError: the binding is refused, or does not count in time.
    """
    if cluster.guest is None or not cluster.guest.role:
        return
    role = cluster.guest.role
    with contextlib.closing(cluster.api_client()) as api:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": _BINDING, "labels": {RUN_LABEL: cluster.guest.run}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _own_name(api)}],
        }
        try:
            kubernetes.client.RbacAuthorizationV1Api(api).create_namespaced_role_binding(namespace, binding)
            reviews = kubernetes.client.AuthorizationV1Api(api)
            # As good as any other: one binding gives all of them.
            sign = Right("", "pods", "create")
            poll_for(
                f"the RoleBinding to {role} in {namespace} to count",
                lambda: _allowed(reviews, namespace, sign),
                bool,
                _SOON,
            )
        except kubernetes.client.ApiException as error:
            raise InfraError(f"{role} cannot be bound in {namespace}: {error.status} {error.reason}") from error
        except WaitTimeoutError as error:
            raise InfraError(error.message) from error


def facts(cluster: Cluster, wanted_class: str | None) -> Iterator[str]:
    """What the cluster lacks that some scenario wants, one sentence each; nothing of what we may not look at.

    Args:
        cluster: to look at.
        wanted_class: StorageClass of the candidate's claim; None: the cluster's default one.
    """
    done = cluster.run_kubectl("get", "storageclasses", "-o", "json", check=False, timeout=60)
    if done.returncode == 0:
        classes = json.loads(done.stdout)["items"]
        names = {item["metadata"]["name"] for item in classes}
        if wanted_class and wanted_class not in names:
            known = _list(names)
            yield f"it has no StorageClass {wanted_class}, which the candidate's claim asks for (there are: {known})"
        if wanted_class is None and not any(_is_default(item) for item in classes):
            yield "it has no default StorageClass, so a claim that names none stays pending"
    groups = cluster.run_kubectl("api-versions", check=False, timeout=60).stdout.split()
    if groups and not any(group.startswith("metrics.k8s.io/") for group in groups):
        yield "it serves no metrics (metrics-server), so nothing scales by itself and CPU and memory are not recorded"


def _is_default(item: Mapping[str, Any]) -> bool:
    notes = item["metadata"].get("annotations") or {}
    return any(notes.get(f"storageclass.{part}kubernetes.io/is-default-class") == "true" for part in ("", "beta."))


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _own_name(api: kubernetes.client.ApiClient) -> str:
    """Who we are to the API server."""
    told = kubernetes.client.AuthenticationV1Api(api).create_self_subject_review({})
    return str(told.status.user_info.username)


def _covers(rule: Any, right: Right) -> bool:  # noqa: ANN401 (an object of the kubernetes client)
    sub = right.resource.partition("/")[2]
    resources = {right.resource, "*", *([f"*/{sub}"] if sub else ())}
    return (
        not {right.verb, "*"}.isdisjoint(rule.verbs or ())
        and not {right.group, "*"}.isdisjoint(rule.api_groups or ())
        and not resources.isdisjoint(rule.resources or ())
        and (not rule.resource_names or right.name in rule.resource_names)
    )


def _allowed(reviews: kubernetes.client.AuthorizationV1Api, namespace: str, right: Right) -> bool:
    resource, _, sub = right.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": sub,
        "name": right.name,
    }
    asked = {"spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}}}
    return bool(reviews.create_self_subject_access_review(asked, _request_timeout=_TIMEOUT).status.allowed)
