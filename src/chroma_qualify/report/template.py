"""Fills the templates of assets/: one self-contained page, whose policy allows its own script and style and no more.

Everything that comes from a run is hostile: a server's log may hold any text. Templates escape by themselves, data
for the charts is JSON without a `<`, and the policy forbids every other script, every picture and every request.
Used by `page` and `page_diff`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from chroma_qualify.report import words
from chroma_qualify.report.charts import Band

_ASSETS = Path(__file__).with_name("assets")
_LONGEST = 4000  # characters of one text of a run
_LONGEST_NAME = 160
_IN_JSON = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def fill(template: str, *, title: str, data: Mapping[str, Any], **values: object) -> str:
    """A page as text.

    Args:
        template: file name in assets/.
        title: of the page.
        data: for the charts.
        values: of the template.
    """
    style = "\n".join(_asset(name) for name in ("uPlot.min.css", "page.css"))
    script = "\n".join(_asset(name) for name in ("uPlot.iife.min.js", "page.js", "charts.js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    text = (
        _environment()
        .get_template(template)
        .render(title=title, policy=policy, style=Markup(style), script=Markup(script), data=_json(data), **values)  # noqa: S704 (our own files)
    )
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair, which JSON may hold


def clip(text: object) -> str:
    """A text of a run, not longer than a page needs."""
    told = str(text)
    return (
        told if len(told) <= _LONGEST else f"{told[:_LONGEST]} … ({len(told):,} characters; the rest is in the files)"
    )


def short(name: object) -> str:
    """A name of a run: a word of any length must not widen a page."""
    told = str(name)
    return told if len(told) <= _LONGEST_NAME else f"{told[:_LONGEST_NAME]}…"


def _json(data: Mapping[str, Any]) -> Markup:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup("".join(_IN_JSON.get(character, character) for character in text))  # noqa: S704 (holds no markup)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _band_row(band: Band) -> tuple[str, ...]:
    return (band.name, band.kind, band.state, words.clock(band.begin), words.clock(band.end))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": words.amount,
        "band_row": _band_row,
        "clip": clip,
        "digits": words.digits,
        "duration": words.duration,
        "moment": words.moment,
        "seconds": words.seconds,
        "short": short,
        "size": words.size,
    }
    return environment
