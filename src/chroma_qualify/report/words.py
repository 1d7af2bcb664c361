"""Numbers and times as the page writes them. Pure; filters of its templates."""

from __future__ import annotations

import datetime

NOTHING = "\N{EN DASH}"
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def amount(value: float | None, unit: str = "") -> str:
    """A number of a unit in few digits: `12.3 ms`, `1.5 GiB`, `3`; nothing known: a dash."""
    if value is None:
        return NOTHING
    if unit == "bytes":
        return size(value)
    return f"{digits(value)}{'' if unit in {'', 'pods'} else f' {unit}'}"


def digits(value: float) -> str:
    """Three digits tell a person enough; whole numbers are written out."""
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return ""
    for unit in _SIZES:
        if abs(value) < 1024 or unit == _SIZES[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def clock(seconds: float) -> str:
    """Minutes and seconds from the start of the run: `3:07`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float | None) -> str:
    """How long: `0.4 s`, `42 s`, `14 min 24 s`, `2 h 05 min`; nothing known: a dash."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(text: str) -> str:
    """A moment of ISO 8601 for a person, in UTC; any other text as it is."""
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        return text
    if len(text) <= len("2026-01-01"):
        return text
    when = when.replace(tzinfo=datetime.UTC) if when.tzinfo is None else when.astimezone(datetime.UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def seconds(value: float | None) -> str:
    """Seconds in a table whose head does not say the unit; nothing known: a dash."""
    return NOTHING if value is None else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
