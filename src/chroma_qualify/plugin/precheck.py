"""`python -m chroma_qualify.plugin.precheck DIR`: is DIR worth minutes of building images?

Called by scripts/qualify before it ensures the images. Where kubectl is built already the candidate is rendered, as
it will be in the run; else what can be told without it is checked: that there is YAML, and that all of it parses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from chroma_qualify.deployment.linting import load_waivers
from chroma_qualify.deployment.manifests import KUSTOMIZATIONS, WAIVERS, built_kubectl, first_broken_file, plain_objects
from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.deployment.qualification import load_access, load_promises
from chroma_qualify.deployment.render import load_candidate
from chroma_qualify.errors import QualifyError, UsageError
from chroma_qualify.report.verdict import EXIT_USAGE


def check(directory: Path, kubectl: Path | None) -> None:
    """Check a directory of manifests as far as possible.

    Args:
        directory: as MANIFESTS names it.
        kubectl: None if there is none yet.

    Raises:
        UsageError: with the sentence that the run would end with.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", remedy="name a directory of Kubernetes manifests")
    load_promises(directory)
    load_access(directory)
    load_waivers(directory / WAIVERS)
    if kubectl is not None:
        load_candidate(directory, kubectl)
        return
    found = [directory / name for name in KUSTOMIZATIONS if (directory / name).is_file()]
    if not found:
        Candidate.from_objects(plain_objects(directory), directory, kubectl=Path("kubectl"))
        return
    if broken := first_broken_file(directory):
        raise broken
    kustomization = yaml.safe_load(found[0].read_text())
    if not isinstance(kustomization, dict):
        raise UsageError(f"{found[0]} is no kustomization: it holds no fields")
    for entry in kustomization.get("resources") or ():
        if "://" not in str(entry) and "?" not in str(entry) and not _exists(directory / str(entry)):
            raise UsageError(f"{found[0]} needs {entry}, which does not exist")


def _exists(path: Path) -> bool:
    # kustomize also takes host/owner/repository without a scheme, as in github.com/owner/repository.
    return path.exists() or "github.com" in path.parts


def main() -> int:
    """Returns the exit code: 0, or 2 after one sentence."""
    try:
        check(Path(sys.argv[1]), built_kubectl())
    except QualifyError as error:
        print(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", file=sys.stderr)
        return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
