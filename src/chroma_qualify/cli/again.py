"""`again`: what failed in a recorded run is tried again, and classed; no verdict is changed by it."""

from __future__ import annotations

import enum
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.report.verdict import Outcome

FILE = "again.json"
_FAILED = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.INFRA)
_CUT = "time-limit"  # such a scenario did not fail
# What said where and what, not how: chosen anew for each time.
_CHOSEN = ("--scenario=", "--only=", "--fault=", "--use-cluster=", "--time-limit=", "--run-dir=")


class Kind(enum.StrEnum):
    """What a failed scenario is, once it was tried again."""

    INFRA = "infra"
    FLAKY = "flaky"
    REAL = "real"


def again(
    run_dir: Annotated[Path, typer.Argument(help="The directory of a recorded run.")],
    times: Annotated[int, typer.Option(min=1, max=100, help="How often each failed scenario is tried.")] = 2,
    cluster: Annotated[
        str | None, typer.Option(metavar="NAME", help="On this cluster of `up`. Default: a fresh one each time.")
    ] = None,
) -> None:
    """Try what failed in a recorded run again: same manifests, seed and options, a fresh cluster each time.

    Each is classed: real (it never passes), flaky (it passes at times), infra (the machine or the cluster failed).
    That is printed and written to again.json beside the verdict, which stays as it is; so does the exit code.
    """
    from chroma_qualify.report.write import read_verdict

    try:
        verdict = read_verdict(run_dir)
    except FileNotFoundError:
        raise UsageError(f"{run_dir} has no verdict.json", remedy="name the directory of a run that ended") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{run_dir / 'verdict.json'} cannot be read: {error}") from error
    told = {finding.scenario for finding in verdict.findings if finding.rule != _CUT}
    failed = {each.name: each.outcome for each in verdict.scenarios if each.outcome in _FAILED and each.name in told}
    failed.pop("lint", None)  # the same manifests give the same words
    if failed:
        words = repeating(verdict.command, sorted(failed), cluster)
        tries = [
            _try(words, run_dir.absolute() / "again" / str(number), verdict.digest) for number in _free(run_dir, times)
        ]
        document = judged(verdict.run_id, verdict.verdict.value, failed, tries)
        _write(run_dir / FILE, document)
        for each in document["scenarios"]:
            typer.echo(f"{each['name']}: {each['class']}: {each['first']}, then {', '.join(each['again'])}")
    else:
        typer.echo("no scenario of this run failed: there is nothing to try again")
    typer.echo(f"the verdict stays: {verdict.verdict.value}")
    raise typer.Exit(verdict.verdict.exit_code)


def repeating(command: str, scenarios: Sequence[str], cluster: str | None) -> list[str]:
    """Arguments of `run` for these scenarios of a recorded run.

    Args:
        command: verdict.json's.
        scenarios: names of verdict.json.
        cluster: one of `up`, or None.

    Raises:
        UsageError: the command is none of ours.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if len(words) < 2 or Path(words[0]).name != "chroma-qualify" or words[1] != "run":
        raise UsageError("this run does not say how it is repeated", remedy="run it again, and then this")
    kept = [word for word in words[2:] if not word.startswith(_CHOSEN)]
    return [*kept, *(f"--only={name}" for name in scenarios), *([f"--use-cluster={cluster}"] if cluster else [])]


def classify(first: Outcome, tries: Sequence[Outcome]) -> Kind:
    """What a scenario is that failed first and then ended so.

    One pass shows that the candidate can pass: then it was the machine, if it said so, else it is flaky. Without one,
    what failed each time is real, unless nothing was ever seen but the machine failing.
    """
    if Outcome.PASS in tries:
        return Kind.INFRA if first is Outcome.INFRA else Kind.FLAKY
    return Kind.REAL if {Outcome.FAIL, Outcome.UNKNOWN} & set(tries) else Kind.INFRA


def judged(
    run_id: str, verdict: str, failed: Mapping[str, Outcome], tries: Sequence[Mapping[str, Outcome]]
) -> dict[str, Any]:
    """What again.json says: of each failed scenario how it ended, each time, and what it is.

    A scenario that a try does not tell of, for its run came to nothing, is `infra` there.
    """
    scenarios = []
    for name, first in failed.items():
        ended = [each.get(name, Outcome.INFRA) for each in tries]
        ended = [Outcome.INFRA if each is Outcome.NOT_RUN else each for each in ended]
        kind = classify(first, ended)
        scenarios.append(
            {"name": name, "class": kind.value, "first": first.value, "again": [each.value for each in ended]}
        )
    return {"run": run_id, "verdict": verdict, "times": len(tries), "scenarios": scenarios}


def _try(words: Sequence[str], place: Path, digest: str) -> dict[str, Outcome]:
    """Run once; how each scenario ended, nothing if there is no verdict.

    Raises:
        UsageError: the request is refused by now, or the manifests are no longer those of `digest`.
    """
    from chroma_qualify.report.write import read_verdict

    typer.echo(f"again: {place}")
    code = "import sys; from chroma_qualify.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "--plain", *words, f"--run-dir={place}"]
    ended = subprocess.run(command, check=False).returncode
    if ended == 2:
        raise UsageError("the run cannot be repeated, see above")
    try:
        verdict = read_verdict(place)
    except (OSError, ValueError):
        return {}
    if verdict.digest != digest:
        raise UsageError(
            f"{verdict.manifests or 'the manifests'} changed since that run", remedy="run it anew: this proves nothing"
        )
    return {each.name: each.outcome for each in verdict.scenarios}


def _free(run_dir: Path, times: int) -> range:
    """Numbers of tries that are not there yet: what was tried before stays."""
    place = run_dir / "again"
    taken = [int(each.name) for each in place.iterdir() if each.name.isdecimal()] if place.is_dir() else []
    begin = max(taken, default=0) + 1
    return range(begin, begin + times)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise InfraError(f"{path} cannot be written: {error.strerror}") from error
