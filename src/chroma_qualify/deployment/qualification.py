"""Reads `qualification.yaml`: what a topology promises. It is beside its kustomization. Called by the plugin."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.checks.promises import FILE, STRICTEST, Promises, from_json
from chroma_qualify.errors import UsageError


def load_promises(directory: Path) -> Promises:
    """What the topology in a directory promises; without a file the strictest.

    Raises:
        UsageError: it is broken YAML, or says what is not of the format.
    """
    path = directory / FILE
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return STRICTEST
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path} is broken YAML{where}: {getattr(error, 'problem', None) or error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return from_json(_plain(document), str(path))
    except RecursionError:
        raise UsageError(f"{path} refers to itself") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 (anything can be in a YAML file)
    """YAML's dates as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
