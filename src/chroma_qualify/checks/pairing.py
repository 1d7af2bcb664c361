"""Put a sheet of lines into the columns: each completion to its invocation, all at once.

Called by `reader`. Either all lines of the sheet are in order, and then they are taken, or nothing is changed and the
reader takes them one by one, to say what is wrong with which.
"""

from __future__ import annotations

import dataclasses
from array import array
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.columns import FS, NARROW, NOBODY, OPEN, Columns
from chroma_qualify.checks.line import INFO, INVOKE, OK
from chroma_qualify.checks.operation import F
from chroma_qualify.checks.sheet import Sheet

Ints = npt.NDArray[np.int64]
_COUNT: Final = FS.index(F.COUNT)


class Clients:
    """What the logical clients are at: the state between two sheets.

    Attributes:
        open: process to the row of its operation that is not completed; `retired`: those with an `info` completion.
        lines: how many were taken; `time`: of the last.
    """

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        self.retired: set[int] = set()
        self.lines = 0
        self.time = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Pairs:
    """Which lines of a sheet belong together; lines by their place in it.

    Attributes:
        ended, begun: completions, and their invocations in the same sheet.
        carried: completions whose invocation came before the sheet, and its row in the columns.
        last: process and place of the last line of each process.
    """

    ended: Ints
    begun: Ints
    carried: list[tuple[int, int]]
    last: list[tuple[int, int]]


def take(sheet: Sheet, columns: Columns, clients: Clients) -> bool:
    """Take all lines of a sheet; False: one of them is not in order, and nothing was changed."""
    pairs = _pair(sheet, columns, clients) if _in_order(sheet, clients) else None
    if pairs is None:
        return False
    begins = sheet.type == INVOKE
    rows = np.cumsum(begins) - 1 + len(columns.line)
    at = len(columns.values) + np.cumsum(sheet.length) - sheet.length
    _append(sheet, columns, pairs, rows, at, clients.lines)
    for place, row in pairs.carried:
        _complete(sheet, columns, place, row, int(at[place]), clients.lines)
    _append_flat(sheet, columns, at - len(columns.values))
    rare = {place: said for place, said in sheet.said.items() if said.error or said.repeated}
    if rare:
        row_of = dict(pairs.carried) | dict(zip(pairs.ended.tolist(), rows[pairs.begun].tolist(), strict=True))
        columns.error.update((row_of[place], said.error) for place, said in rare.items() if said.error)
        columns.repeated.update((row_of[place], said.repeated) for place, said in rare.items() if said.repeated)
    for process, place in pairs.last:
        if begins[place]:
            clients.open[process] = int(rows[place])
        else:
            clients.open.pop(process, None)
    clients.retired.update(sheet.process[sheet.type == INFO].tolist())
    clients.lines += len(begins)
    clients.time = int(sheet.time[-1])
    return True


def _in_order(sheet: Sheet, clients: Clients) -> bool:
    number = len(sheet.index)
    if not np.array_equal(sheet.index, np.arange(clients.lines, clients.lines + number)):
        return False
    steady = sheet.time[0] >= clients.time and bool((sheet.time[1:] >= sheet.time[:-1]).all())
    return steady and int(np.abs(sheet.process).max()) < NARROW


def _pair(sheet: Sheet, columns: Columns, clients: Clients) -> _Pairs | None:
    """By process, and of each in the order of the lines: invocation and completion must take turns."""
    number = len(sheet.process)
    order = np.argsort(sheet.process * number + np.arange(number))
    process, kind = sheet.process[order], sheet.type[order]
    begins = kind == INVOKE
    first = np.append(True, process[1:] != process[:-1])
    back = begins[1:] & (kind[:-1] == INFO)  # a client that comes back after `info`
    if ((back | (begins[1:] == begins[:-1])) & ~first[1:]).any():
        return None
    carried: list[tuple[int, int]] = []
    for name, place in zip(process[first].tolist(), order[first].tolist(), strict=True):
        row = clients.open.get(name)
        if sheet.type[place] != INVOKE and row is not None:
            if columns.f[row] != sheet.f[place] or columns.collection[row] != sheet.collection[place]:
                return None
            carried.append((place, row))
        elif sheet.type[place] != INVOKE or row is not None or name in clients.retired:
            return None
    ending = np.flatnonzero(~begins & ~first)
    ended, begun = order[ending], order[ending - 1]
    if (sheet.f[ended] != sheet.f[begun]).any() or (sheet.collection[ended] != sheet.collection[begun]).any():
        return None
    last = np.append(first[1:], True)
    return _Pairs(ended, begun, carried, list(zip(process[last].tolist(), order[last].tolist(), strict=True)))


def _append(sheet: Sheet, columns: Columns, pairs: _Pairs, of_row: Ints, at: Ints, lines: int) -> None:
    """The rows of the sheet's invocations, with the completions that are in it, too."""
    begun, ended = pairs.begun, pairs.ended
    number = len(sheet.type)
    done, end = np.full(number, OPEN), np.zeros(number, np.int64)
    kind, length, endpoint = np.full(number, INFO), sheet.length.copy(), sheet.endpoint.copy()
    done[begun], end[begun], kind[begun] = lines + ended, sheet.time[ended], sheet.type[ended]
    known = sheet.endpoint[ended] != NOBODY
    endpoint[begun[known]] = sheet.endpoint[ended[known]]
    read = sheet.length[ended] > 0
    length[begun[read]], at_ = sheet.length[ended[read]], at.copy()
    at_[begun[read]] = at[ended[read]]
    counted = (sheet.f[ended] == _COUNT) & (sheet.type[ended] == OK)
    at_[begun[counted]] = sheet.count[ended[counted]]
    rows = np.flatnonzero(sheet.type == INVOKE)
    named_at = len(columns.named) + np.cumsum(sheet.named) - sheet.named
    asked = rows[(sheet.k[rows] != 0) | (sheet.near[rows] != NOBODY)]
    for column, values in (
        (columns.line, lines + rows),
        (columns.done, done[rows]),
        (columns.start, sheet.time[rows]),
        (columns.end, end[rows]),
        (columns.process, sheet.process[rows]),
        (columns.f, sheet.f[rows]),
        (columns.kind, kind[rows]),
        (columns.phase, sheet.phase[rows]),
        (columns.flags, sheet.flags[rows]),
        (columns.collection, sheet.collection[rows]),
        (columns.endpoint, endpoint[rows]),
        (columns.at, at_[rows]),
        (columns.length, length[rows]),
        (columns.named_at, named_at[rows]),
        (columns.asked, of_row[asked]),
        (columns.k, sheet.k[asked]),
        (columns.near, sheet.near[asked]),
    ):
        _extend(column, values)


def _complete(sheet: Sheet, columns: Columns, place: int, row: int, at: int, lines: int) -> None:
    """A completion in the sheet of an operation that was begun before it."""
    columns.done[row], columns.end[row] = lines + place, int(sheet.time[place])
    columns.kind[row] = int(sheet.type[place])
    if sheet.endpoint[place] != NOBODY:
        columns.endpoint[row] = int(sheet.endpoint[place])
    if sheet.length[place]:
        columns.at[row], columns.length[row] = at, int(sheet.length[place])
    if sheet.f[place] == _COUNT and sheet.type[place] == OK:
        columns.at[row] = int(sheet.count[place])


def _append_flat(sheet: Sheet, columns: Columns, at: Ints) -> None:
    """All values and ids that the sheet's lines carry, in their order."""
    ids, values = np.zeros(int(sheet.length.sum()), np.int32), np.zeros(int(sheet.length.sum()), np.int64)
    named_at = np.cumsum(sheet.named) - sheet.named
    named = np.zeros(int(sheet.named.sum()), np.int32)
    some = np.flatnonzero(sheet.length)
    ids[at[some]], values[at[some]] = sheet.id[some], sheet.value[some]
    some = np.flatnonzero(sheet.named)
    named[named_at[some]] = sheet.name[some]
    numbers = columns.ids
    for place, said in sheet.said.items():
        if said.values:
            part = slice(int(at[place]), int(at[place]) + len(said.values))
            ids[part] = [numbers[id_] for id_ in said.values]
            values[part] = list(said.values.values())
        if said.ids:
            named[int(named_at[place]) : int(named_at[place]) + len(said.ids)] = [numbers[id_] for id_ in said.ids]
    for column, new in ((columns.value_ids, ids), (columns.values, values), (columns.named, named)):
        _extend(column, new)


def _extend(column: Any, values: npt.NDArray[Any]) -> None:  # noqa: ANN401 (array of any type code)
    assert isinstance(column, array)
    column.frombytes(values.astype(f"{'u' if column.typecode.isupper() else 'i'}{column.itemsize}").tobytes())
