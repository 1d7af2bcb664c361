"""Numbers and short strings at many places of a buffer at once, eight bytes at a time.

Called by `sheet`. A word is eight bytes, the first in the lowest bits. Everything is plain numpy; what is found is
exactly what JSON means, and whatever is not that plain (signs, leading zeros, escapes, letters beyond ASCII) is not
found: the caller reads such lines in another way.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

PADDING: Final = 96  # bytes that must follow the last place
_DIGITS: Final = 18  # every number of so many digits fits into 64 bits
_LONGEST: Final = 64  # bytes of a string


def _each(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


_HIGH, _ONES, _ZEROS, _QUOTES, _BACKSLASHES, _BLANKS = map(_each, (0x80, 0x01, 0x30, 0x22, 0x5C, 0x20))
_NO_DIGIT: Final = _each(0x76)  # plus anything above 9 has the highest bit set
_ONE: Final = np.uint64(1)
_POWERS: Final = np.array([10**digits for digits in range(9)], np.int64)
_LOW_BYTES: Final = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)


def words(buffer: bytes) -> Words:
    """The words that begin at each place of a buffer (which ends with PADDING), on its own memory."""
    return np.ndarray((len(buffer) - 7,), np.dtype("<u8"), buffer, 0, (1,))


def numbers(at: Words, places: Ints) -> tuple[Ints, Ints, Bools]:
    """The whole numbers that begin at these places: value, place after it, and whether there is a plain one."""
    first = at[places]
    length, value = _digits(first)
    good = (length > 0) & ~((length > 1) & (first & np.uint64(0xFF) == np.uint64(0x30)))
    more = np.flatnonzero(length == 8)
    while len(more):
        further, low = _digits(at[places[more] + length[more]])
        fits = length[more] + further <= _DIGITS
        good[more[~fits]] = False
        value[more[fits]] = (value[more] * _POWERS[further] + low)[fits]
        length[more] += further
        more = more[fits & (further == 8)]
    return value, places + length, good


def _digits(word: Words) -> tuple[Ints, Ints]:
    """How many digits a word begins with, and their value."""
    plain = word ^ _ZEROS
    other = ((plain + _NO_DIGIT) | plain) & _HIGH
    length = (np.bitwise_count((other & (~other + _ONE)) - _ONE) >> 3).astype(np.int64)
    # The digits into the highest bytes, zeros before them; then pairs, fours and eights of them at once.
    value = (plain & _LOW_BYTES[length]) << ((8 - length) * 8).astype(np.uint64) % np.uint64(64)
    value = value * np.uint64(10) + (value >> np.uint64(8))
    low = (value & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
    high = ((value >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(0x0000271000000001)
    return length, ((low + high) >> np.uint64(32)).astype(np.int64)


def strings(at: Words, places: Ints) -> tuple[list[Words], Ints, Bools]:
    """The strings that begin at these places (after their quote): words, place of the end quote, whether it is plain.

    The words of a string are filled up with zeros; there are as many as the longest one needs.
    """
    number = len(places)
    length, good = np.zeros(number, np.int64), np.zeros(number, dtype=np.bool_)
    found: list[Words] = []
    rows = np.arange(number)
    while len(rows) and len(found) * 8 < _LONGEST:
        word = at[places[rows] + 8 * len(found)]
        quote = word ^ _QUOTES
        quote = (quote - _ONES) & ~quote & _HIGH
        before = (np.bitwise_count((quote & (~quote + _ONE)) - _ONE) >> 3).astype(np.int64)
        mask = _LOW_BYTES[before]
        word = word & mask
        probe = word | (_BLANKS & ~mask)
        escape = probe ^ _BACKSLASHES
        odd = (probe | ((probe - _BLANKS) & ~probe) | ((escape - _ONES) & ~escape)) & _HIGH
        length[rows] += before
        ended = quote != 0
        good[rows] = ended & (odd == 0)
        column = np.zeros(number, np.uint64)
        column[rows] = word
        found.append(column)
        rows = rows[~ended & (odd == 0)]
    good[rows] = False
    return found, places + length, good


def literal(at: Words, places: Ints, text: bytes) -> Bools:
    """At which of these places does this text stand?"""
    same = np.ones(len(places), dtype=np.bool_)
    for start in range(0, len(text), 8):
        part = text[start : start + 8]
        wanted = np.uint64(int.from_bytes(part, "little"))
        word = at[places + start]
        same &= (word if len(part) == 8 else word & _LOW_BYTES[len(part)]) == wanted
    return same
