"""Real text with known topics: the reference pages that ship with Python.

`pydoc_data.topics` is what `help("topic")` prints: prose by people, about 80 topics, there
wherever Python is, nothing to download and nobody's private data. A passage is the first
sentence of a paragraph; the question for a topic is its title, so what a search should find is known without a
person's judgement. Texts differ a little between Python versions; nothing here depends on
their wording. Used by the data scenario.
"""

from __future__ import annotations

import dataclasses
import pydoc_data.topics
import re

MIN_WORDS, MAX_WORDS = 8, 40  # shorter is a heading or code, longer costs the model time
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"])")
_UNDERLINE = re.compile(r"^[*=~\-^\"]{4,}$")


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """One sentence.

    Attributes:
        id: `topic-number`.
        topic: the topic's key, e.g. `booleans`.
        text: the sentence, on one line.
    """

    id: str
    topic: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a user would type, and where the answer is.

    Attributes:
        text: the title of the topic, e.g. `Boolean operations`.
        topic: the topic whose passages answer it.
    """

    text: str
    topic: str


def passages(limit: int = 400, per_topic: int = 8) -> tuple[Passage, ...]:
    """The first sentences of up to `per_topic` paragraphs of each topic, at most `limit` in all, none twice."""
    found: list[Passage] = []
    seen: set[str] = set()
    for topic in sorted(pydoc_data.topics.topics):
        number = 0
        for block in re.split(r"\n\s*\n", pydoc_data.topics.topics[topic]):
            text = _SENTENCE_END.split(" ".join(block.split()), maxsplit=1)[0]
            prose = (
                "::=" not in block
                and ">>>" not in block
                and text.endswith(".")
                and MIN_WORDS <= len(text.split()) <= MAX_WORDS
            )
            if not prose or text in seen or number == per_topic:
                continue
            seen.add(text)
            found.append(Passage(f"{topic}-{number}", topic, text))
            number += 1
    return tuple(found[:limit])


def questions(among: tuple[Passage, ...]) -> tuple[Question, ...]:
    """One question per topic that has at least three of the given passages and a title."""
    counts: dict[str, int] = {}
    for passage in among:
        counts[passage.topic] = counts.get(passage.topic, 0) + 1
    found = []
    for topic, count in counts.items():
        lines = [line for line in pydoc_data.topics.topics[topic].splitlines() if line.strip()]
        if count >= 3 and len(lines) > 1 and _UNDERLINE.match(lines[1]):
            found.append(Question(lines[0].strip(), topic))
    return tuple(found)
