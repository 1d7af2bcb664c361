"""Defaults from a file: `[tool.chroma-qualify]` of pyproject.toml, or chroma-qualify.toml, of the working directory.

Its keys are the long options of `run`; the table `lint` has those of `lint` that are lasting. The command line beats
the environment, which beats the file. What is not known, or of the wrong type, is refused by name.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.models import OptionInfo

from chroma_qualify.errors import UsageError

FILE = "chroma-qualify.toml"
_PROJECT = "pyproject.toml"
_LINT = "lint"
_LINT_KEYS = ("kubernetes", "waivers", "vectors", "dimensions")
# What a file cannot sensibly say: where one run is written, and a consent.
_NOT_IN_A_FILE = {"run-dir", "yes"}
_MEANING = {bool: "true or false", int: "a whole number", str: "a text"}


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, as its function declares it.

    Attributes:
        name: of the parameter.
        key: the long option without its dashes.
        type: bool, int or str, by which a file's value is checked.
        multiple: may it be given again?
    """

    name: str
    key: str
    type: type
    multiple: bool


def options_of(command: Callable[..., Any]) -> tuple[Option, ...]:
    """The options of a command's function, without those that are hidden."""
    return tuple(_options(command))


def _options(command: Callable[..., Any]) -> Iterator[Option]:
    for name, hint in typing.get_type_hints(command, include_extras=True).items():
        information = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, OptionInfo)]
        if not information or information[0].hidden:
            continue  # what --help does not tell of is not for people
        # Inside of Annotated, Typer keeps the first name where a default would be.
        names = [information[0].default, *(information[0].param_decls or ())]
        long = [each for each in names if isinstance(each, str) and each.startswith("--")]
        base = hint.__origin__
        several = [each for each in (base, *typing.get_args(base)) if typing.get_origin(each) is list]
        kinds = {*typing.get_args(several[0] if several else base), base}
        kind = next((each for each in (bool, int) if each in kinds), str)
        key = long[0].partition("/")[0].lstrip("-") if long else name.replace("_", "-")
        yield Option(name, key, kind, bool(several))


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a file says.

    Attributes:
        file: None if there is none.
        run: by the name of the command's parameter, as `lint`.
    """

    file: Path | None = None
    run: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lint: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_settings(directory: Path, run: Sequence[Option], lint: Sequence[Option]) -> Settings:
    """Read what a directory's file says.

    Args:
        directory: the working directory.
        run: options of the command `run`.
        lint: of `lint`.

    Raises:
        UsageError: it cannot be read, says what is not known, or there are two files.
    """
    found = {path: table for path, table in _tables(directory) if table is not None}
    if len(found) > 1:
        first, second = found
        raise UsageError(f"both {first} and {second} configure chroma-qualify", remedy="keep one of them")
    for path, table in found.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: tool.chroma-qualify is no table")
        lint_table = table.pop(_LINT, {})
        if not isinstance(lint_table, dict):
            raise UsageError(f"{path}: {_LINT} is no table")
        lasting = [option for option in lint if option.key in _LINT_KEYS]
        return Settings(path, _values(table, run, str(path)), _values(lint_table, lasting, f"{path}: table {_LINT}"))
    return Settings()


def _tables(directory: Path) -> list[tuple[Path, Any]]:
    own, project = directory / FILE, directory / _PROJECT
    tool = _load(project).get("tool") if _is_file(project) else None
    return [
        (own, _load(own) if _is_file(own) else None),
        (project, tool.get("chroma-qualify") if isinstance(tool, dict) else None),
    ]


def _is_file(path: Path) -> bool:
    """No, too, where the directory may not be entered: Path.is_file raises there."""
    return os.path.isfile(path)  # noqa: PTH113


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from None


def _values(table: Mapping[str, Any], options: Sequence[Option], where: str) -> dict[str, Any]:
    known = {option.key: option for option in options if option.key not in _NOT_IN_A_FILE}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise UsageError(
                f"{where}: there is no setting {key!r:.80}", remedy=f"there are {', '.join(sorted(known))}"
            )
        option = known[key]
        given = value if isinstance(value, list) and option.multiple else [value]
        for each in given:
            if type(each) is not option.type:  # TOML has types, and a wrong one is a mistake: `seed = true`
                several = " or a list of such" if option.multiple else ""
                raise UsageError(f"{where}: {key} is {each!r:.80}, and must be {_MEANING[option.type]}{several}")
        values[option.name] = given if option.multiple else value
    return values
