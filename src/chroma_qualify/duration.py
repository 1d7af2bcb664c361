"""Spans of time as a person writes them: `600`, `30m`, `1h30m`."""

from __future__ import annotations

import re

from chroma_qualify.errors import UsageError

_FORM = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?", re.ASCII)
_LONGEST = 7 * 24 * 3600


def seconds_of(given: str, option: str) -> float:
    """Seconds that `given` stands for; `option` is named in the sentence of an error.

    Raises:
        UsageError: it is no span, or none from one second to seven days.
    """
    form = _FORM.fullmatch(given.strip())
    if form is None or not any(form.groups()):
        raise UsageError(f"{option} {given!r} is no span of time", remedy="write seconds, or as in 90s, 30m, 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in form.groups())
    whole = hours * 3600 + minutes * 60 + seconds
    if not 1 <= whole <= _LONGEST:
        raise UsageError(f"{option} {given!r} is not from 1 s to 7 days")
    return float(whole)


def told(seconds: float) -> str:
    """The same for a person: `45 s`, `12 min 05 s`, `1 h 02 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
