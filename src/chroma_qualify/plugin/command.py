"""The shell command that repeats a run: what was asked, the seed that was drawn, and nothing about where it ran.

Given to verdict.json; `chroma-qualify again` reads it back.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from chroma_qualify.faults.experiments import POWER_LOSSES
from chroma_qualify.plugin.options import Options

PROGRAM = ".venv/bin/chroma-qualify"  # from the checkout, where README has it


def command_of(options: Options) -> str:
    """One line for a POSIX shell; each option is one word of it, `--name=value`.

    Left out is what makes no difference to what is found: where the evidence goes, whether the cluster stays, and which
    one of ours it was: it may be gone by then, and a run makes one.
    """
    return shlex.join([PROGRAM, "run", *_words(options)])


def _words(options: Options) -> Iterator[str]:
    given = {
        "manifests": options.manifests,
        "baseline": options.baseline,
        "scenario": options.scenario,
        "only": options.only,
        "fault": options.faults,
        "seed": options.seed,
        "time-limit": None if options.time_limit is None else f"{options.time_limit:.0f}",
        "nodes": options.nodes if options.nodes != 1 else None,
        "chroma-version": options.chroma_version,
        "k8s-version": options.k8s_version,
        "images": options.images if options.images != "auto" else None,
        "power-losses": options.power_losses if options.power_losses != POWER_LOSSES else None,
        "repeat": options.repeat if options.repeat != 1 else None,
        "cluster": options.context,
        "kubeconfig": options.kubeconfig,
        "namespace": options.namespace,
        "loader-image": options.loader_image,
        "load-pods": options.load_pods or None,
    }
    for name, value in given.items():
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None and each != "":
                yield f"--{name}={each}"
    for name, asked in (("one-lane", options.one_lane), ("yes", options.yes)):
        if asked:
            yield f"--{name}"
