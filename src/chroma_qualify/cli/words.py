"""Words and values that several commands take. Nothing here may import what takes long."""

from __future__ import annotations

import enum
import re

import typer


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
