"""The published JSON Schemas, and whether what is written keeps to them. Called by the plugin, before a run ends."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

_SHOWN = 3


def load_schema(name: str) -> dict[str, Any]:
    """A schema of this package: `verdict`, `plan` or `lint`."""
    file = importlib.resources.files("chroma_qualify.report") / "schemas" / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def against_schema(document: Mapping[str, Any], name: str) -> list[str]:
    """Where a document does not keep to its schema, in words; at most some."""
    from jsonschema import Draft202012Validator  # takes a while to import

    errors = Draft202012Validator(load_schema(name)).iter_errors(json.loads(json.dumps(document)))
    return [f"{error.json_path}: {error.message[:200]}" for _, error in zip(range(_SHOWN), errors, strict=False)]
