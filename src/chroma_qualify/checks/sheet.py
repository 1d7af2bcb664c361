"""Many lines at a time: those that differ only in numbers and in one id are read by arithmetic on their bytes.

A recorder writes few kinds of lines. The first of each kind is parsed as JSON and cut at its numbers and at its one
id; a line with the same bytes between such holes, and plain numbers and a plain string in them, is JSON and says the
same. Every other line is parsed. Called by `reader`, which decides by `Sheet.whole` whether it can take the result.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from chroma_qualify.checks import bytesfield, line
from chroma_qualify.checks.bytesfield import Bools, Ints, Words
from chroma_qualify.checks.columns import NARROW, NOBODY, WIDE, Columns, Names

_MOST_KINDS: Final = 200  # of lines; and how many fruitless tries in one sheet
_TRIES: Final = 20
_TEXT: Final = rb'"([^"\\\x00-\x1f\x7f-\xff]*)"'
# The holes of a line, after index, time and process. Without a backslash in the line, `"count":` is always a key.
_HOLES: Final = re.compile(
    rb'"values":\{' + _TEXT + rb':([0-9]+)\}|"ids":\[' + _TEXT + rb'\]|"count":([0-9]+)|"near":' + _TEXT
)
_NAMES: Final = ("", "id", "value", "named", "count", "near")  # of the groups of _HOLES
_HEAD: Final = re.compile(rb'\{"index":([0-9]+),"time":([0-9]+),"process":([0-9]+)(?=,)')


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of line: bytes and names of holes by turns, beginning after the number of the process; what it says."""

    parts: tuple[bytes | str, ...]
    said: line.Said


class Sheet:
    """What each of some lines says, as columns; `said` holds what does not fit into them.

    Attributes:
        whole: all is well so far: every line is plain, or has been parsed.
    """

    def __init__(self, number: int) -> None:
        self.whole = True
        self.index, self.time, self.process = (np.zeros(number, np.int64) for _ in range(3))
        self.type, self.f, self.phase, self.flags = (np.zeros(number, np.uint8) for _ in range(4))
        self.collection = np.zeros(number, np.int32)
        self.endpoint = np.full(number, NOBODY, np.int32)
        self.length, self.named = np.zeros(number, np.int64), np.zeros(number, np.int64)  # of values, of ids
        self.id, self.value = np.zeros(number, np.int32), np.zeros(number, np.int64)  # the first of the values
        self.name = np.zeros(number, np.int32)  # the first of the ids
        self.k, self.near = np.zeros(number, np.int64), np.full(number, NOBODY, np.int32)
        self.count = np.zeros(number, np.int64)
        self.said: dict[int, line.Said] = {}

    def put(self, rows: Ints | int, said: line.Said, columns: Columns) -> None:
        """What these rows have in common."""
        self.type[rows], self.f[rows], self.phase[rows], self.flags[rows] = said.type, said.f, said.phase, said.flags
        self.collection[rows] = columns.collection_of(said.collection)
        if said.endpoint is not None:
            self.endpoint[rows] = columns.endpoint_of(said.endpoint)
        self.length[rows], self.named[rows] = len(said.values), len(said.ids or ())
        self.k[rows] = said.k


class Kinds:
    """The kinds of lines that were met so far; reads sheets."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._kinds: list[_Kind] = []

    def read(self, lines: Sequence[bytes]) -> Sheet:
        """All these lines."""
        sheet = Sheet(len(lines))
        buffer = b"".join(lines) + bytes(bytesfield.PADDING)
        ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
        breaks = np.flatnonzero(np.frombuffer(buffer, np.uint8) == 10) + 1
        if not np.array_equal(ends, breaks):
            sheet.whole = False
            return sheet
        at = bytesfield.words(buffer)
        starts = np.append(0, ends[:-1])
        places, good = starts, np.ones(len(lines), dtype=np.bool_)
        for text, column in ((b'{"index":', sheet.index), (b',"time":', sheet.time), (b',"process":', sheet.process)):
            # A line that is another may be led beyond the end; places are held there.
            good &= bytesfield.literal(at, places, text)
            column[:], places, plain = bytesfield.numbers(at, np.minimum(places + len(text), ends[-1]))
            places = np.minimum(places, ends[-1])
            good &= plain
        open_ = good.copy()
        keys = at[places + 8], at[places + 16]
        for kind in self._kinds:
            self._match(kind, sheet, at, keys, places, ends, open_)
        tries = _TRIES
        for row in np.flatnonzero(open_).tolist():
            if not tries or len(self._kinds) >= _MOST_KINDS:
                break
            if not open_[row]:
                continue
            kind_ = _learn(lines[row])
            if kind_ is not None:
                self._kinds.append(kind_)
                self._match(kind_, sheet, at, keys, places, ends, open_)
            tries -= kind_ is None or bool(open_[row])
        for row in np.flatnonzero(open_ | ~good).tolist():
            if not self._parse(row, lines[row], sheet):
                sheet.whole = False
                break
        return sheet

    def _match(
        self, kind: _Kind, sheet: Sheet, at: Words, keys: tuple[Words, Words], places: Ints, ends: Ints, open_: Bools
    ) -> None:
        """Take the lines of one kind out of the open ones."""
        first = kind.parts[0]
        if not isinstance(first, bytes):
            return
        one, two = (np.uint64(int.from_bytes(first[start : start + 8], "little")) for start in (8, 16))
        rows = np.flatnonzero(open_ & (keys[0] == one) & (keys[1] == two))
        if not len(rows):
            return
        here = places[rows]
        holes: dict[str, list[npt.NDArray[np.uint64]] | Ints] = {}
        for part in kind.parts:
            if isinstance(part, bytes):
                after = here + len(part)
                good = after <= ends[rows]
                if not good.any():
                    return
                good &= bytesfield.literal(at, np.where(good, here, 0), part)
            elif part in {"value", "count"}:
                holes[part], after, good = bytesfield.numbers(at, here)
            else:
                holes[part], after, good = bytesfield.strings(at, here)
            if not good.all():
                rows, after = rows[good], after[good]
                holes = {
                    name: [word[good] for word in hole] if isinstance(hole, list) else hole[good]
                    for name, hole in holes.items()
                }
            here = after
        sheet.put(rows, kind.said, self._columns)
        for name, hole in holes.items():
            if isinstance(hole, list):
                known, same = _intern(self._columns.ids, hole)
                {"id": sheet.id, "named": sheet.name, "near": sheet.near}[name][rows] = known
                if not same.all():
                    rows, holes = rows[:0], {}  # two strings of one hash: all of them are parsed
                    break
            else:
                {"value": sheet.value, "count": sheet.count}[name][rows] = hole
        open_[rows] = False

    def _parse(self, row: int, raw: bytes, sheet: Sheet) -> bool:
        """Take one line as JSON; False: it is odd, or wrong."""
        if raw[:1] != b"{":
            return False
        try:
            said = line.whole(orjson.loads(raw), raw)
        except (KeyError, TypeError, ValueError):
            return False
        values = said.values.values()
        if not (0 <= said.count < NARROW and 0 <= said.index < WIDE):
            return False
        if not (abs(said.time) < WIDE and abs(said.process) < NARROW and abs(said.k) < WIDE):
            return False
        if values and not -WIDE <= min(values) <= max(values) < WIDE:
            return False
        sheet.put(row, said, self._columns)
        sheet.index[row], sheet.time[row], sheet.process[row] = said.index, said.time, said.process
        sheet.count[row] = said.count
        if said.near is not None:
            sheet.near[row] = self._columns.ids[said.near]
        sheet.said[row] = said
        return True


def _learn(raw: bytes) -> _Kind | None:
    """The kind of a line; None: there may be no other like it."""
    head = _HEAD.match(raw)
    if head is None or b"\\" in raw or raw[-2:] != b"}\n":
        return None
    try:
        said = line.whole(orjson.loads(raw), raw)
    except (KeyError, TypeError, ValueError):
        return None
    if said.error or said.repeated or len(said.values) > 1 or len(said.ids or ()) > 1:
        return None
    parts: list[bytes | str] = []
    begin = head.end()
    for match in _HOLES.finditer(raw, head.end()):
        for group in range(1, len(_NAMES)):
            if match.start(group) >= 0:
                parts += [raw[begin : match.start(group)], _NAMES[group]]
                begin = match.end(group)
    parts.append(raw[begin:])
    holes = [part for part in parts if isinstance(part, str)]
    fits = holes.count("id") == len(said.values) and holes.count("named") == len(said.ids or ())
    fits &= (
        len(set(holes)) == len(holes) and len(parts[0]) >= 24 and not (said.near is not None and "near" not in holes)
    )
    # The head once only, and each hole is a field of the line's own, not of an object in it.
    fits &= all(raw.count(b'"%s":' % name) == 1 for name in (b"index", b"time", b"process"))
    return _Kind(tuple(parts), said) if fits and raw.count(b"{") == 1 + raw.count(b'"values":{') else None


def _intern(names: Names, words: list[Words]) -> tuple[npt.NDArray[np.int32], Bools]:
    """Strings, given as words, as numbers; and of which that is certain."""
    key = words[0].copy()
    for word in words[1:]:
        key = key * np.uint64(0x9E3779B97F4A7C15) + (word ^ (word >> np.uint64(29)))
    _, first, back = np.unique(key, return_index=True, return_inverse=True)
    texts = np.ascontiguousarray(np.stack([word[first] for word in words], axis=1).astype("<u8"))
    # As bytes of a fixed length numpy leaves out the zeros at their end.
    plain = texts.view(f"S{8 * len(words)}").ravel().tolist()
    numbers = np.array([names[text.decode()] for text in plain], np.int32)
    same = np.ones(len(key), dtype=np.bool_)
    if len(words) > 1:
        for word in words:
            same &= word == word[first][back]
    return numbers[back], same
