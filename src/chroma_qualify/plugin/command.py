"""The shell command that repeats a run: what verdict.json carries as `command`."""

from __future__ import annotations

import shlex

from chroma_qualify.plugin.options import Options


def command_of(options: Options) -> str:
    """One line for a shell: the candidate, the seed and whatever else decides what is done, as it was understood."""
    words = ["chroma-qualify", "run"]
    given: dict[str, object] = {
        "--manifests": options.manifests,
        "--baseline": options.baseline,
        "--seed": options.seed,
        "--nodes": options.nodes if options.nodes != 1 else None,
        "--chroma-version": options.chroma_version or None,
        "--k8s-version": options.k8s_version or None,
        "--images": options.images if options.images != "auto" else None,
    }
    for option, value in given.items():
        if value is not None:
            words += [option, str(value)]
    return shlex.join(words)
