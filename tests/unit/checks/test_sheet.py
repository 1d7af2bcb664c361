"""Many lines at a time and one by one: the same operations, the same flaws, the same refusals."""

from __future__ import annotations

import dataclasses
import os
import random

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import Lines
from test_follow import Server

from chroma_qualify.checks import bytesfield, reader
from chroma_qualify.checks.columns import Operations
from chroma_qualify.checks.history import parse
from chroma_qualify.errors import UsageError

EXAMPLES = int(os.environ.get("CHROMA_QUALIFY_EXAMPLES", "300"))
BYTES = b'{}[]":,\\\n\r 019-.eatrunlosi\x00\x1f\x7f\x80\xc3\xa4'


def one_by_one(lines: list[bytes]):
    taken = reader.Reader()
    all(map(taken.line, lines))
    columns, number, flaws = taken.finish()
    return Operations(columns), number, flaws


def many_at_a_time(lines: list[bytes]):
    history = parse(lines)
    return history.operations, history.lines, history.flaws


def outcome(read, lines: list[bytes]):
    try:
        operations, number, flaws = read(lines)
    except UsageError as error:
        return error.message
    return [dataclasses.astuple(op) for op in operations], number, flaws


def spoiled(chance: random.Random, raw: bytes) -> bytes:
    """Some bytes changed, put in or taken out."""
    for _ in range(chance.choice((0, 1, 1, 2))):
        place = chance.randrange(len(raw))
        new = bytes([chance.choice(BYTES)]) if chance.random() < 0.8 else b""
        raw = raw[:place] + new + raw[place + chance.choice((0, 1, 1)) :]
    return raw


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 1 << 40), st.integers(1, 80), st.integers(1, 6), st.booleans(), st.sampled_from([1, 2, 64]))
def test_the_same_in_both_ways(seed, number, processes, plain, block):
    chance = random.Random(seed)
    server = Server(chance, 9, chance.choice((0.0, 0.3)), plain=plain)
    server.ids = ["r1", "index", "values", "r12345678", "r" * 70, 'q"', "ä", "a\\", " ", ""]
    server.past = {id_: [0] for id_ in server.ids}
    raw = spoiled(chance, server.run(number, processes))
    lines = raw.splitlines(keepends=True) if chance.random() < 0.2 else [x + b"\n" for x in raw.split(b"\n")[:-1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_BLOCK", block)
        patch.setattr(reader, "_SOME", min(block, 64))
        assert outcome(many_at_a_time, lines) == outcome(one_by_one, lines)


def test_plain_lines_are_read_by_arithmetic(monkeypatch):
    """What a recorder writes, line after line, is not parsed: only the first of each kind."""
    lines = Lines()
    for number in range(300):
        lines.write(**{f"r{number}": number})
        lines.end(lines.begin("get", ids=[f"r{number}"]), values={f"r{number}": number})
        lines.query(near=f"r{number}", k=1)
    parsed = []
    monkeypatch.setattr(orjson, "loads", lambda raw, real=orjson.loads: parsed.append(raw) or real(raw))
    history = parse(lines.raw().splitlines(keepends=True))
    assert len(history.operations) == 900
    assert len(parsed) < 20


@given(st.lists(st.one_of(st.integers(0, 10**20).map(str), st.text("0123456789-.x", max_size=22)), min_size=1))
def test_numbers_in_bytes(texts):
    buffer = b",".join(text.encode() for text in texts) + b"," + bytes(bytesfield.PADDING)
    places = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    values, after, plain = bytesfield.numbers(bytesfield.words(buffer), places)
    for text, value, end, good, place in zip(texts, values, after, plain, places, strict=True):
        digits = text[: len(text) - len(text.lstrip("0123456789"))]
        assert good == (0 < len(digits) <= 18 and (digits == "0" or digits[0] != "0"))
        assert not good or (value, end) == (int(digits), place + len(digits))


@given(st.lists(st.one_of(st.text(max_size=70), st.text("abc \\\x7fä", max_size=70)), min_size=1))
def test_strings_in_bytes(texts):
    texts = [text.replace('"', "").encode("utf-8", "replace") for text in texts]
    buffer = b"".join(text + b'"' for text in texts) + bytes(bytesfield.PADDING)
    places = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    words, after, plain = bytesfield.strings(bytesfield.words(buffer), places)
    for row, (text, end, good, place) in enumerate(zip(texts, after, plain, places, strict=True)):
        assert good == (len(text) < 64 and all(0x20 <= byte <= 0x7F and byte != 0x5C for byte in text))
        if good:
            assert end == place + len(text)
            assert b"".join(word[row].tobytes() for word in words).rstrip(b"\0") == text
