"""Reads `qualification.yaml`: what a topology promises, and how clients get into it. It is beside its kustomization.

Called by `render` and by the plugin.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.checks.promises import FILE, STRICTEST, Promises, from_json
from chroma_qualify.deployment.access import NO_ACCESS, Access, SecretKey
from chroma_qualify.errors import UsageError

BASED_ON = "based_on"  # another topology's directory, relative to this file's
ACCESS = "access"  # fields that are no promise: about clients,
CHOSEN = "chroma"  # and which of several workloads is meant
_NO_FILE = {ACCESS: None}


def load_promises(directory: Path) -> Promises:
    """What the topology in a directory promises; without a file the strictest.

    Raises:
        UsageError: it is broken YAML, or says what is not of the format.
    """
    document, path = _document(directory)
    if isinstance(document, dict) and document.keys() & {ACCESS, CHOSEN}:
        document = {key: value for key, value in document.items() if key not in {ACCESS, CHOSEN}}
        if not document:
            return STRICTEST
    return from_json(document, str(path))


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


def load_chosen(directory: Path) -> str:
    """Which of several workloads is Chroma: `chroma: StatefulSet/NAME`, else "".

    Raises:
        UsageError: as `load_promises`.
    """
    document, path = _document(directory)
    given = document.get(CHOSEN, "") if isinstance(document, dict) else ""
    if given and not re.fullmatch(r"(Deployment|StatefulSet)/[^/\s]+", str(given)):
        raise UsageError(f"{path}: {CHOSEN} must be Deployment/NAME or StatefulSet/NAME")
    return str(given)


def _secret_key(value: object, where: str) -> SecretKey:
    if not isinstance(value, dict) or value.keys() != {"secret", "key"}:
        raise UsageError(f"{where} must be an object with secret and key")
    if not all(isinstance(each, str) and each for each in value.values()):
        raise UsageError(f"{where}: secret and key must be names")
    return SecretKey(value["secret"], value["key"])


def _document(directory: Path) -> tuple[object, Path]:
    """What the file holds, and its path."""
    path = directory / FILE
    return (read_qualification(directory) if path.exists() else _NO_FILE), path


def read_qualification(directory: Path, _above: tuple[Path, ...] = ()) -> Any:  # noqa: ANN401 (its form is not checked)
    """What the file of a directory says, with what it is based on filled in.

    Own keys hold in place of the inherited ones; within `unavailable_seconds` and other objects too, each key for
    itself, while a list holds as a whole.

    Raises:
        UsageError: there is no such file, it is broken YAML, or the files refer to each other in a circle.
    """
    path = (directory / FILE).resolve()
    if path in _above:
        raise UsageError(f"{path} is based on itself", remedy=f"take {BASED_ON} out of one of the files")
    document = _read(directory / FILE)
    if not isinstance(document, dict) or BASED_ON not in document:
        return document
    own = {key: value for key, value in document.items() if key != BASED_ON}
    if not isinstance(document[BASED_ON], str):
        raise UsageError(f"{directory / FILE}: {BASED_ON} must be a directory, relative to that of the file")
    return _over(read_qualification(directory / document[BASED_ON], (*_above, path)), own)


def _over(inherited: Any, own: Any) -> Any:  # noqa: ANN401 (anything can be in a YAML file)
    if not isinstance(inherited, dict) or not isinstance(own, dict):
        return own
    return {**inherited, **{key: _over(inherited.get(key), value) for key, value in own.items()}}


def _read(path: Path) -> Any:  # noqa: ANN401 (anything can be in a YAML file)
    try:
        return _plain(yaml.safe_load(path.read_text(encoding="utf-8")))
    except RecursionError as error:
        raise UsageError(f"{path} refers to itself, or is too deep") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path} is broken YAML{where}: {getattr(error, 'problem', None) or error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 (anything can be in a YAML file)
    """YAML's dates as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
