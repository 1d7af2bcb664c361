"""Reads `qualification.yaml`: what a topology promises, and how clients get into it. It is beside its kustomization.

Called by `render` and by the plugin.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.checks.promises import FILE, STRICTEST, Promises, from_json
from chroma_qualify.deployment.access import NO_ACCESS, Access, SecretKey
from chroma_qualify.errors import UsageError

ACCESS = "access"  # the field that is about clients, and no promise
_NO_FILE = {ACCESS: None}


def load_promises(directory: Path) -> Promises:
    """What the topology in a directory promises; without a file the strictest.

    Raises:
        UsageError: it is broken YAML, or says what is not of the format.
    """
    document, path = _document(directory)
    if isinstance(document, dict) and ACCESS in document:
        document = {key: value for key, value in document.items() if key != ACCESS}
        if not document:
            return STRICTEST
    try:
        return from_json(_plain(document), str(path))
    except RecursionError:
        raise UsageError(f"{path} refers to itself") from None


def load_access(directory: Path) -> Access:
    """How clients get into the candidate of a directory: `access: {token: {secret: …, key: …}, tls: {…}}`.

    Raises:
        UsageError: as `load_promises`.
    """
    document, path = _document(directory)
    given = document.get(ACCESS) if isinstance(document, dict) else None
    if given is None:
        return NO_ACCESS
    if not isinstance(given, dict) or not given or given.keys() - {"token", "tls"}:
        raise UsageError(f"{path}: {ACCESS} must be an object with token, tls or both")
    return Access(**{name: _secret_key(value, f"{path}: {ACCESS}.{name}") for name, value in given.items()})


def _secret_key(value: object, where: str) -> SecretKey:
    if not isinstance(value, dict) or value.keys() != {"secret", "key"}:
        raise UsageError(f"{where} must be an object with secret and key")
    if not all(isinstance(each, str) and each for each in value.values()):
        raise UsageError(f"{where}: secret and key must be names")
    return SecretKey(value["secret"], value["key"])


def _document(directory: Path) -> tuple[object, Path]:
    """What the file holds, and its path."""
    path = directory / FILE
    try:
        document: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _NO_FILE, path
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path} is broken YAML{where}: {getattr(error, 'problem', None) or error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return document, path


def _plain(value: Any) -> Any:  # noqa: ANN401 (anything can be in a YAML file)
    """YAML's dates as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
