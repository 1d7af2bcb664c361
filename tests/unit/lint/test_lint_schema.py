"""Rule `schema-invalid`: wrong fields are found with their path, what Kubernetes takes is not."""

import copy
import datetime
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_qualify.deployment.schemas import ClusterSchemas
from chroma_qualify.findings import Severity
from chroma_qualify.lint import schema_invalid
from chroma_qualify.lint.schema import crd_schemas, without_schema

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "db", "creationTimestamp": None},
    "spec": {
        "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}, "annotations": {"since": "2026-01-01"}},
            "spec": {
                "containers": [
                    {
                        "name": "db",
                        "image": "chromadb/chroma:1.5.9",
                        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": None}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "timeoutSeconds": None},
                    }
                ]
            },
        },
    },
}
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: watchers.example.org}
spec:
  group: example.org
  names:
    kind: Watcher
  versions:
    - name: v1
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            metadata: {type: object}
            spec:
              type: object
              required: [every]
              properties:
                every: {type: string, format: duration, pattern: "^[0-9]+s$"}
                port: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}
                labels: {type: object, additionalProperties: {type: string}}
                anything: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {a: {type: integer}}}
                list: {type: array, items: {type: object, properties: {name: {type: string}}}}
"""
WATCHER = {
    "apiVersion": "example.org/v1",
    "kind": "Watcher",
    "metadata": {"name": "w", "labels": {"a": "b"}},
    "spec": {
        "every": "30s",
        "port": 1,
        "labels": {"any": "thing"},
        "anything": {"b": [1, {}]},
        "list": [{"name": "x"}],
    },
}


@pytest.fixture
def schemas(tmp_path):
    (tmp_path / "crds.yaml").write_text(f"{DEFINITION.replace('Watcher', 'Other')}\n---\n{DEFINITION}")
    return ClusterSchemas("1.37.2", tmp_path / "crds.yaml")


def changed(obj, path, value):
    """A copy with the value at a path of keys and numbers replaced; `...` removes it."""
    copied = copy.deepcopy(obj)
    place = copied
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copied


@pytest.mark.parametrize("obj", [DEPLOYMENT, WATCHER])
def test_what_is_right(obj, schemas):
    assert schema_invalid([obj, {"kind": "List", "items": [obj]}], schemas) == []
    assert without_schema([obj], schemas) == []


CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("obj", "path", "value", "said"),
    [
        (DEPLOYMENT, (*CONTAINER, "resource"), {}, "unknown field spec.template.spec.containers[0].resource."),
        (DEPLOYMENT, ("sepc",), {}, "unknown field sepc."),
        (DEPLOYMENT, (*CONTAINER, "name"), ..., "lacks spec.template.spec.containers[0].name."),
        (DEPLOYMENT, ("spec", "selector"), ..., "lacks spec.selector."),
        (DEPLOYMENT, ("spec", "replicas"), "1", "at spec.replicas: it is a string and must be integer or null."),
        (
            DEPLOYMENT,
            (*CONTAINER, "env"),
            [{"name": "A", "value": 1}],
            "containers[0].env[0].value: it is a whole number and must be string",
        ),
        (DEPLOYMENT, (*CONTAINER, "livenessProbe", "httpGet", "port"), [], "httpGet.port: it is a list and must be "),
        (DEPLOYMENT, ("apiVersion",), "apps/v1beta1", "Kubernetes 1.37.0 has no kind Deployment in apps/v1beta1."),
        (DEPLOYMENT, ("kind",), "deployment", "has no kind deployment in apps/v1."),
        (DEPLOYMENT, ("kind",), "../x", "has no kind ../x in apps/v1."),
        (DEPLOYMENT, ("apiVersion",), ..., "has no apiVersion or no kind."),
        (WATCHER, ("spec", "evry"), "30s", "unknown field spec.evry."),
        (WATCHER, ("spec", "list", 0, "nam"), "x", "unknown field spec.list[0].nam."),
        (WATCHER, ("spec", "every"), ..., "lacks spec.every."),
        (WATCHER, ("spec", "every"), "soon", "at spec.every: it does not match the pattern ^[0-9]+s$."),
        (WATCHER, ("spec", "labels", "x"), 1, "at spec.labels.x: it is a whole number and must be string."),
        (WATCHER, ("spec", "anything", "a"), "x", "at spec.anything.a: it is a string and must be integer."),
    ],
)
def test_what_is_wrong_is_said_with_its_path(obj, path, value, said, schemas):
    (found,) = schema_invalid([changed(obj, path, value)], schemas)
    assert (found.rule, found.severity) == ("schema-invalid", Severity.FAIL)
    assert said in found.message
    assert found.object.endswith(f"/{obj['metadata']['name']}")
    assert found.evidence
    assert found.remedy


def test_a_kind_of_somebody_s_operator_is_not_judged_but_listed(schemas):
    stranger = {"apiVersion": "example.org/v2", "kind": "Watcher", "metadata": {"name": "x"}, "anything": 1}
    assert schema_invalid([stranger], schemas) == []
    assert without_schema([stranger, DEPLOYMENT], schemas) == ["Watcher/x"]
    assert without_schema([WATCHER], ClusterSchemas()) == ["Watcher/w"]


def test_a_date_is_a_string_and_a_secret_s_value_is_not_told(schemas):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": 123456}}
    (found,) = schema_invalid([secret], schemas)
    assert "stringData.token" in found.message
    assert "123456" not in repr(found)
    dated = changed(DEPLOYMENT, ("metadata", "annotations"), {"on": datetime.date(2026, 1, 1)})
    assert schema_invalid([dated], schemas) == []


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (DEPLOYMENT, ("spec", "replicas")),
        (DEPLOYMENT, (*CONTAINER, "args")),
        (DEPLOYMENT, (*CONTAINER, "env")),
        (DEPLOYMENT, (*CONTAINER, "livenessProbe", "httpGet", "port")),
        (WATCHER, ("spec", "every")),
        (WATCHER, ("spec", "list")),
    ],
)
@pytest.mark.parametrize("value", ["s3cret-t0ken", {"k": "s3cret-t0ken"}, [{"name": "T", "value": ["s3cret-t0ken"]}]])
def test_a_value_is_told_of_no_object(obj, path, value, schemas):
    assert "s3cret-t0ken" not in repr(schema_invalid([changed(obj, path, value)], schemas))


def test_the_newest_schemas_that_are_not_newer_than_the_cluster():
    versions = {"": "1.37.0", "1.37.2": "1.37.0", "1.99.0": "1.37.0", "v1.30.1": "1.30.0", "1.2": "1.25.0"}
    assert {asked: ClusterSchemas(asked).version for asked in versions} == versions


def test_it_takes_a_fraction_of_a_second(schemas):
    schema_invalid([DEPLOYMENT, WATCHER], schemas)
    begin = time.process_time()
    for _ in range(10):
        schema_invalid([DEPLOYMENT, WATCHER], schemas)
    assert time.process_time() - begin < 5


def test_definitions_without_a_schema_know_no_fields():
    definition = yaml.safe_load(DEFINITION)
    definition["spec"]["versions"] = [{"name": "v1"}, None, {"name": "v2", "schema": None}]
    assert set(crd_schemas([definition, {}])) == {("example.org/v1", "Watcher"), ("example.org/v2", "Watcher")}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
PATHS = [("spec",), ("metadata",), ("apiVersion",), ("kind",), ("spec", "template"), CONTAINER, (*CONTAINER, "env")]
BUILT_IN = ClusterSchemas()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(PATHS), JUNK)
def test_malformed_objects_never_stop_it(path, junk):
    for finding in schema_invalid([changed(DEPLOYMENT, path, junk)], BUILT_IN):
        assert finding.message
