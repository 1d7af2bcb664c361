"""Recorded operations as rates and percentiles by time, and what servers had in the end. Called by `series`.

Works on the columns of `checks`, never on single operations: a run has millions of them.
"""

from __future__ import annotations

import collections
from typing import Final

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.columns import FS, KINDS, NOBODY, OPEN, PHASES, VECTORS, WIDE, Columns
from chroma_qualify.checks.operation import F, Kind, Phase
from chroma_qualify.checks.outage import kind_of
from chroma_qualify.checks.tables import is_write, owners
from chroma_qualify.report.shapes import Count, Rates, Traffic

_QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_OK, _FAIL = KINDS.index(Kind.OK), KINDS.index(Kind.FAIL)
_FINAL: Final = PHASES.index(Phase.FINAL)
_GET, _QUERY, _COUNT, _DELETE = (FS.index(f) for f in (F.GET, F.QUERY, F.COUNT, F.DELETE))
_LONGEST: Final = (1 << 44) - 1  # ns, nearly five hours
_NEVER: Final = np.iinfo(np.int64).max

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def ended(columns: Columns) -> Ints:
    """When each operation ended (ns), or began if it never did; 0 for times that no clock shows."""
    times: Ints = columns.end.astype(np.int64)
    times[columns.done == OPEN] = columns.start[columns.done == OPEN]
    times[(times < 0) | (times >= WIDE)] = 0
    return times


def traffic(columns: Columns, lane: str, width: float, bins: int, shift: float = 0.0) -> Traffic:
    """The operations of one history, in bins of `width` seconds.

    Args:
        columns: of the history.
        lane: its place, see `Traffic`.
        width: of a bin, seconds.
        bins: how many; what ends later is in the last.
        shift: seconds from the history's clock to the run's.
    """
    ends = ended(columns)
    place = np.clip(((ends / 1e9 + shift) / width).astype(np.int64), 0, bins - 1)
    milliseconds = (ends - columns.start) / 1e6
    ok = columns.kind == _OK
    present = [number for number in range(len(FS)) if (columns.f == number).any()]
    everything = np.ones(len(ends), dtype=np.bool_)
    chosen = {number: columns.f == number for number in present}
    kinds = [(kind.value, columns.kind == code) for code, kind in enumerate(KINDS)]
    return Traffic(
        lane=lane,
        total=_rates(columns, everything, place, milliseconds, width, bins),
        by_operation={
            FS[number].value: _rates(columns, mine, place, milliseconds, width, bins) for number, mine in chosen.items()
        },
        operations={
            FS[number].value: {name: int((mine & so).sum()) for name, so in kinds} for number, mine in chosen.items()
        },
        latency={
            FS[number].value: quantiles(milliseconds[mine & ok]) for number, mine in chosen.items() if (mine & ok).any()
        },
        errors=dict(collections.Counter(map(kind_of, columns.error.values())).most_common()),
    )


def counts(columns: Columns, lane: str) -> list[Count]:
    """Of each collection and each server that was asked at the end: what must be there, and what was.

    The end is the final reads, and reads of one server by its name when nothing was written any more. A record must
    be there if the last write of it was acknowledged after every delete of it: of the others nobody can say so much.
    """
    owner = owners(columns)
    number = max(1, len(columns.ids.all))
    keys = columns.collection[owner].astype(np.int64) * number + columns.value_ids
    alive = _alive(columns, owner, keys, number)
    final = (columns.kind == _OK) & ((columns.phase == _FINAL) | ((columns.endpoint != NOBODY) & _quiet(columns)))
    get = final & (columns.f == _GET)
    exact = columns.flags & VECTORS != 0
    stored, indexed = get & ~exact, (get & exact) | (final & (columns.f == _QUERY))
    counted = final & (columns.f == _COUNT)
    asked = stored | indexed | counted
    places = {
        (int(collection), int(endpoint))
        for collection, endpoint in np.unique(
            np.stack([columns.collection[asked], columns.endpoint[asked]], axis=1).astype(np.int64), axis=0
        )
    }
    unread = set(np.unique(alive // number).tolist()) - {collection for collection, _ in places}
    found = []
    for collection, endpoint in sorted({*places, *((collection, NOBODY) for collection in unread)}):
        mine = (columns.collection == collection) & (columns.endpoint == endpoint)
        must = alive[(alive >= collection * number) & (alive < (collection + 1) * number)]
        store = _found(must, keys, owner, mine & stored)
        if store is None and (rows := np.flatnonzero(mine & counted)).size:
            store = min(len(must), columns.narrow.number(int(columns.at[rows[-1]])))
        found.append(
            Count(
                lane,
                columns.collections.all[collection],
                columns.endpoints.all[endpoint] if endpoint != NOBODY else "",
                len(must),
                store,
                _found(must, keys, owner, mine & indexed),
            )
        )
    return found


def _quiet(columns: Columns) -> Bools:
    """Of each operation: did it begin after the last write to its collection was over?"""
    writes = is_write(columns) | (columns.f == _DELETE)
    last = np.full(len(columns.collections.all), -1, np.int64)
    over = np.maximum(columns.done[writes], columns.line[writes]).astype(np.int64)
    np.maximum.at(last, columns.collection[writes], over)
    quiet: Bools = columns.line > last[columns.collection]
    return quiet


def _rates(
    columns: Columns, mine: Bools, place: Ints, milliseconds: npt.NDArray[np.float64], width: float, bins: int
) -> Rates:
    by_kind = {
        kind: np.bincount(place[mine & (columns.kind == code)], minlength=bins) / width
        for code, kind in enumerate(KINDS)
    }
    rows = mine & (columns.kind == _OK)
    where = place[rows]
    # By bin, then by time, as one number: sorted several times as fast as by two.
    nanoseconds = np.clip(np.rint(milliseconds[rows] * 1e6), 0, _LONGEST).astype(np.int64)
    took = (np.sort(where * (_LONGEST + 1) + nanoseconds) & _LONGEST) / 1e6
    number = np.bincount(where, minlength=bins)
    first = np.cumsum(number) - number
    some = number > 0
    quantiles: dict[str, list[float | None]] = {}
    for name, share in _QUANTILES.items():
        values: list[float | None] = [None] * bins
        rank = np.maximum(np.ceil(share * number[some]).astype(np.int64), 1) - 1
        for bin_, value in zip(np.flatnonzero(some).tolist(), took[first[some] + rank].tolist(), strict=True):
            values[bin_] = _short(value)
        quantiles[name] = values
    rates = {kind.value: [round(rate, 3) for rate in each.tolist()] for kind, each in by_kind.items()}
    return Rates(rates["ok"], rates["fail"], rates["info"], quantiles["p50"], quantiles["p95"], quantiles["p99"])


def quantiles(took: npt.NDArray[np.float64]) -> dict[str, float]:
    """p50, p95, p99 and the largest of some numbers, at least one; each is one of them."""
    took = np.sort(took)
    shares = {name: took[max(int(np.ceil(share * len(took))), 1) - 1] for name, share in _QUANTILES.items()}
    return {name: _short(float(value)) for name, value in {**shares, "max": took[-1]}.items()}


def _short(value: float) -> float:
    """Four digits say all that a chart shows."""
    return float(f"{value:.4g}")


def _alive(columns: Columns, owner: Ints, keys: Ints, number: int) -> Ints:
    """The keys of records that must be there, ascending."""
    written = (is_write(columns) & (columns.kind == _OK))[owner]
    alive, back = np.unique(keys[written], return_inverse=True)
    last = np.full(len(alive), -1, np.int64)
    np.maximum.at(last, back, columns.line[owner[written]].astype(np.int64))
    lengths = np.diff(np.append(columns.named_at.astype(np.int64), len(columns.named)))
    namer = np.repeat(np.arange(len(lengths)), lengths)
    deleting = ((columns.f == _DELETE) & (columns.kind != _FAIL))[namer]
    rows = namer[deleting]
    gone = columns.collection[rows].astype(np.int64) * number + columns.named[deleting]
    until = np.where(columns.kind[rows] == _OK, columns.done[rows].astype(np.int64), _NEVER)
    known = np.searchsorted(alive, gone)
    hit = known < len(alive)
    hit[hit] = alive[known[hit]] == gone[hit]
    dead = np.full(len(alive), -1, np.int64)
    np.maximum.at(dead, known[hit], until[hit])
    must: Ints = alive[last > dead]
    return must


def _found(must: Ints, keys: Ints, owner: Ints, rows: Bools) -> int | None:
    """How many of these records the reads of some rows gave; None: there was no such read."""
    if not rows.any():
        return None
    return int(np.isin(must, keys[rows[owner]]).sum())
