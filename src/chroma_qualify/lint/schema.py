"""Rule `schema-invalid`: what the API server would refuse, or drop without a word, read off the manifests.

The schemas are the caller's (`deployment.schemas` reads them): nothing here opens a file. Unknown fields are findings,
for a misspelt `resources` is a server without a memory limit.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, flatten, mapping, mappings, reference

RULE = "schema-invalid"
_LONGEST = 200  # characters of what a validator says
_TYPES = {
    bool: "a boolean", dict: "an object", float: "a number", int: "a whole number", list: "a list", str: "a string",
}  # fmt: skip
_BRANCHES = 2  # of a value that may be of several types, the ones that are told


class SchemaError(Protocol):
    """What we read of a jsonschema.ValidationError."""

    validator: Any
    validator_value: Any
    schema: Any
    instance: Any
    message: str
    absolute_path: Iterable[str | int]
    context: Any


class Schema(Protocol):
    """A schema that objects can be held against, as a validator of jsonschema is."""

    def iter_errors(self, instance: Any) -> Iterable[Any]:  # noqa: ANN401 (somebody's YAML)
        """Everything that is wrong, each as a `SchemaError`."""


class Schemas(Protocol):
    """Which kinds there are.

    Attributes:
        version: of Kubernetes, for messages.
    """

    version: str

    def find(self, api_version: str, kind: str) -> Schema | None:
        """The schema of a kind, or None."""

    def is_built_in(self, api_version: str) -> bool:
        """Does the group belong to Kubernetes itself, so that a kind without schema does not exist?"""


def schema_invalid(objects: Sequence[Mapping[str, Any]], schemas: Schemas) -> list[Finding]:
    """Hold every object against the schema of its kind.

    Args:
        objects: parsed Kubernetes objects; a `List` is opened.
        schemas: of all kinds that are known; a kind of somebody's operator that is not known is not judged, for only
            the cluster can tell (`without_schema` lists it).

    Returns:
        One finding for each thing that is wrong, with its path.
    """
    return list(dict.fromkeys(finding for obj in flatten(objects) for finding in _of_object(obj, schemas)))


def without_schema(objects: Sequence[Mapping[str, Any]], schemas: Schemas) -> list[str]:
    """`Kind/name` of the objects that could not be judged."""
    known = [(obj, _known(obj)) for obj in flatten(objects)]
    return [reference(obj) for obj, names in known if names and schemas.find(names[0], names[1]) is None]


def crd_schemas(definitions: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """From CustomResourceDefinitions: (apiVersion, kind) to a JSON schema that knows no other fields."""
    found = {}
    for definition in definitions:
        spec = mapping(definition.get("spec"))
        for version in mappings(spec.get("versions")):
            schema = mapping(mapping(version.get("schema")).get("openAPIV3Schema"))
            kind = str(mapping(spec.get("names")).get("kind"))
            strict = _strict(schema)
            # The API server has its own schema for these.
            own: dict[str, Any] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
            strict["properties"] = {**mapping(strict.get("properties")), **own, "metadata": {"type": "object"}}
            found[(f"{spec.get('group')}/{version.get('name')}", kind)] = strict
    return found


def _known(obj: KubeObject) -> tuple[str, str] | None:
    """The apiVersion and the kind, if it has both."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    return (api_version, kind) if isinstance(api_version, str) and isinstance(kind, str) and api_version else None


def _of_object(obj: KubeObject, schemas: Schemas) -> Iterator[Finding]:
    known = _known(obj)
    if known is None:
        yield _finding(obj, f"{reference(obj)} has no apiVersion or no kind.", "both must be strings")
        return
    schema = schemas.find(known[0], known[1])
    if schema is None:
        if schemas.is_built_in(known[0]):
            said = f"Kubernetes {schemas.version} has no kind {known[1]} in {known[0]}."
            yield _finding(obj, said, f"apiVersion: {known[0]}", "Use an apiVersion that is still served.")
        return
    for error in schema.iter_errors(_as_sent(obj)):
        for path, message in _sentences(error):
            yield _finding(obj, f"{reference(obj)} {message}", f"schema of {known[0]} {known[1]}", path=path)


def _sentences(error: SchemaError) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) as the rest of a sentence that begins with the object; values are not told."""
    path = _path(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed = mapping(mapping(error.schema).get("properties"))
        for name in sorted(str(key) for key in error.instance if key not in allowed):
            yield _join(path, name), f"has the unknown field {_join(path, name)}."
    elif error.validator == "required" and isinstance(error.instance, dict):
        # One error of jsonschema's for each missing name; its message begins with it.
        missing = _join(path, error.message.split(" ", 1)[0].strip(chr(39)))
        yield missing, f"lacks {missing}."
    else:
        branches = list(dict.fromkeys(map(_wrong, error.context or (error,))))[:_BRANCHES]
        yield path, f"has a wrong value at {path or 'its root'}: {'; '.join(branches)}."


def _wrong(error: SchemaError) -> str:
    """What the schema asks for and does not get: never the value itself, which may be a password in a wrong place."""
    seen = _TYPES.get(type(error.instance), "of another type")
    match error.validator, error.validator_value:
        case "type", wanted:
            return f"it is {seen} and must be {' or '.join([wanted] if isinstance(wanted, str) else map(str, wanted))}"
        case "enum", allowed:
            return f"it must be one of {', '.join(map(str, allowed))}"[:_LONGEST]
        case "required", _:
            return f"it lacks {error.message.split(' ', 1)[0].strip(chr(39))}"
        case "pattern" | "format", wanted:
            return f"it does not match the {error.validator} {wanted}"[:_LONGEST]
        case "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems", bound:
            return f"its {error.validator} is {bound}"
    return f"it is {seen} and breaks the schema's {error.validator}"


def _path(parts: Iterable[str | int]) -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _finding(obj: KubeObject, message: str, evidence: str, remedy: str = "", *, path: str = "") -> Finding:
    remedy = remedy or "Correct the field; `kubectl explain` shows what there is."
    return Finding(RULE, Severity.FAIL, message, evidence, remedy, reference(obj), path=path)


def _as_sent(value: Any) -> Any:  # noqa: ANN401 (a value of somebody's YAML)
    """As the API server takes it: a null is a field that is not there, and a date of YAML's is a string."""
    if isinstance(value, Mapping):
        return {str(key): _as_sent(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_as_sent(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema of a CustomResourceDefinition as JSON schema.

    Fields that it does not name are refused where the API server would drop them; its formats are not looked at.
    """
    strict = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if isinstance(properties := schema.get("properties"), Mapping):
        strict["properties"] = {name: _strict(mapping(inner)) for name, inner in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            strict["additionalProperties"] = False
    if isinstance(schema.get("items"), Mapping):
        strict["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        strict["additionalProperties"] = _strict(schema["additionalProperties"])
    if schema.get("x-kubernetes-int-or-string"):
        strict["type"] = ["integer", "string"]
    # Structural schemas repeat only values of fields within these, never new fields: nothing to make strict.
    return strict
