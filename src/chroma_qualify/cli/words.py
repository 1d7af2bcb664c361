"""Words and values that several commands take. Nothing here may import what takes long."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Any

import typer

from chroma_qualify.errors import UsageError

_OF_A_RUN = ("verdict.json", "plan.json", "history.jsonl")  # a run that was cut has at least one of them


def settable(*names: str, variable: str, **words: Any) -> Any:  # noqa: ANN401 (what Typer says it is)
    """An option that a variable can set, too; --help tells of them all in one sentence."""
    return typer.Option(*names, envvar=f"CHROMA_QUALIFY_{variable}", show_envvar=False, **words)


class ImageMode(enum.StrEnum):
    """Where the images of a cluster come from."""

    AUTO = "auto"
    REGISTRY = "registry"
    PACKAGES = "packages"


class Format(enum.StrEnum):
    """How a verdict is printed."""

    TEXT = "text"
    JSON = "json"


def version(given: str | None) -> str | None:
    """A version without its `v`; raises typer.BadParameter if it is none."""
    if given is not None and not re.fullmatch(r"v?\d+\.\d+(\.\d+)?", given):
        raise typer.BadParameter(f"{given} is not a version like 1.5.9")
    return given.removeprefix("v") if given else None


def refuse_what_is_no_run(directory: Path) -> None:
    """Raises UsageError if a directory is not that of a run, however early it was cut."""
    if not any((directory / name).is_file() for name in _OF_A_RUN):
        *most, last = _OF_A_RUN
        raise UsageError(f"{directory} is not the directory of a run: it has neither {', '.join(most)} nor {last}")


def refuse_no_place(output: Path) -> None:
    """Raises UsageError if nothing can be written to a path because of what the path is."""
    if output.is_dir():
        raise UsageError(f"--output {output} is a directory", remedy="name a file")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no directory {output.parent}", remedy="make it, or name another")
