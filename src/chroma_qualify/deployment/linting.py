"""The lint of a set of manifests: rules, schemas, waivers. One function for the command and for a run.

Both say the same of the same objects, for both call `lint_candidate`. Imports nothing that takes long; what validates
schemas is imported while kustomize renders.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from chroma_qualify.deployment.foreign import own_objects
from chroma_qualify.deployment.manifests import STDIN, WAIVERS, find_renderer, load_any
from chroma_qualify.deployment.yamltext import MOST_BYTES, decode, documents
from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.engine import NOTHING_TO_JUDGE, SIZED, lint_objects, rule_names
from chroma_qualify.lint.objects import KubeObject
from chroma_qualify.lint.schema import schema_invalid, without_schema
from chroma_qualify.lint.settings import DEFAULTS, Settings
from chroma_qualify.lint.waivers import Waiver, apply_waivers, parse_waivers

if TYPE_CHECKING:
    from chroma_qualify.deployment.schemas import ClusterSchemas


@dataclasses.dataclass(frozen=True, slots=True)
class Linted:
    """What the lint says of a set of manifests.

    Attributes:
        what: the directory or file, as it was named; `-`: the standard input.
        findings: weighed by the waivers.
        objects: how many there are.
        without_schema: `Kind/name` of those whose kind nobody has described to us, so that only rules looked at them.
        kubernetes: the version whose schemas were used.
        waived: of those that a waiver covers, how severe they are without it.
    """

    what: str
    findings: tuple[Finding, ...]
    objects: int
    without_schema: tuple[str, ...]
    kubernetes: str
    waived: Mapping[Finding, Severity]


def lint_directory(what: str, stdin: BinaryIO, settings: Settings = DEFAULTS, waivers: Path | None = None) -> Linted:
    """Lint a directory, a file, or a stream.

    Args:
        what: as `manifests.load_any` takes it.
        stdin: read for `-`.
        settings: what to judge for.
        waivers: a file; None: the one beside the manifests, if there is one.

    Raises:
        UsageError: it cannot be read, or the waivers cannot. InfraError: a kustomization, and nothing to render it.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading = pool.submit(load_any, what, find_renderer, stdin)
        from chroma_qualify.deployment.schemas import cluster_schemas, refuse_unknown_version

        refuse_unknown_version(settings.kubernetes)
        schemas = cluster_schemas(settings.kubernetes)
        objects, _ = own_objects(loading.result())  # what a run leaves out is no matter of the lint
    given = load_waivers(_beside(what) if waivers is None else waivers, needed=waivers is not None)
    return lint_candidate(objects, what, schemas, settings, given)


def lint_candidate(
    objects: Sequence[KubeObject],
    what: str,
    schemas: ClusterSchemas,
    settings: Settings = DEFAULTS,
    waivers: Sequence[Waiver] = (),
    today: datetime.date | None = None,
) -> Linted:
    """Lint objects.

    Args:
        objects: rendered.
        what: where they come from, for the result.
        schemas: of the kinds that the cluster has.
        settings: what to judge for.
        waivers: of these manifests.
        today: waivers are held against it; None: the day it is (UTC).
    """
    ruled = lint_objects(objects, settings)
    findings = [*ruled, *schema_invalid(objects, schemas)]
    # What was not asked cannot be waived in vain: nothing, without a Chroma; and what depends on unstated sizes.
    unasked = frozenset() if settings.vectors else SIZED
    if any(finding.rule == NOTHING_TO_JUDGE for finding in ruled):
        unasked = frozenset(rule_names())
    weighed = apply_waivers(findings, waivers, today or datetime.datetime.now(datetime.UTC).date(), unasked)
    # The waivers' own findings follow those that were weighed.
    waived = {
        now: was.severity for was, now in zip(findings, weighed, strict=False) if now.severity is not was.severity
    }
    unknown = tuple(without_schema(objects, schemas))
    return Linted(what, tuple(weighed), len(objects), unknown, schemas.version, waived)


def load_waivers(path: Path | None, *, needed: bool = False) -> tuple[Waiver, ...]:
    """The waivers of a file; none, where there is no file and it is not `needed`.

    Raises:
        UsageError: it cannot be read, or says what is not of the format.
    """
    try:
        if path is None or (not needed and not path.exists()):
            return ()
        with path.open("rb") as file:
            text = decode(file.read(MOST_BYTES + 1), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    found = [document.value for document in documents(text, str(path))]
    if len(found) > 1:
        raise UsageError(f"{path} holds {len(found)} YAML documents; waivers are one list")
    return parse_waivers(found[0] if found else None, str(path), rule_names())


def _beside(what: str) -> Path | None:
    """Where the waivers of what is linted would be."""
    if what == STDIN:
        return None
    path = Path(what)
    return (path if path.is_dir() else path.parent) / WAIVERS
