"""The strings of a benchmark that documents may not hold: whole texts, and GPT-4's sampled substrings."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.contamination.hash_sets import distinct, hash_set
from data_prep.contamination.items import (
    FEWEST_LETTERS,
    MOST_ITEMS,
    Item,
    has_letters,
    letters,
    says_enough,
    without_space,
)
from data_prep.contamination.joined_texts import Words, batches, join_texts
from data_prep.contamination.words import windows_of

SAMPLES = 3  # substrings per text; GPT-4's report, appendix C, has three per item
DRAWN = 12  # of which the first that are an item's own are taken


@dataclass(frozen=True)
class Pattern:
    """A string whose letters are looked for: a sampled substring, or a whole text, then also given without space."""

    item: int
    letters: bytes
    exact: bytes | None = None


def patterns_of(items: Sequence[Item], first: int, characters: int) -> list[Pattern]:
    """Give the patterns of one benchmark's items, which are numbered from `first` on."""
    return [*_whole_texts(items, first), *_substrings(items, first, characters)]


def first_windows(patterns: Sequence[bytes]) -> Words:
    """Hash the first FEWEST_LETTERS letters of each pattern."""
    hashes = [np.zeros(0, np.uint64)]
    for _, batch in batches([pattern[:FEWEST_LETTERS] for pattern in patterns]):
        places = 1 + np.arange(len(batch)) * (FEWEST_LETTERS + 1)  # behind the separators
        hashes.append(windows_of(join_texts(batch)).hashes[places])
    return np.concatenate(hashes)


def _texts(items: Sequence[Item]) -> Iterator[tuple[int, int, bytes]]:
    """Give the distinct texts of all items that say enough, with the item's number and their own."""
    for number, item in enumerate(items):
        for place, text in enumerate(map(str.encode, dict.fromkeys(item.texts))):
            if says_enough(text):
                yield number, place, text


def _whole_texts(items: Sequence[Item], first: int) -> Iterator[Pattern]:
    """Give every text that is not shared by most items."""
    found = [(number, text, without_space(text)) for number, _, text in _texts(items)]
    times = Counter(exact for _, _, exact in found)
    yield from (
        Pattern(first + number, letters(text), exact) for number, text, exact in found if times[exact] <= MOST_ITEMS
    )


def _substrings(items: Sequence[Item], first: int, characters: int) -> Iterator[Pattern]:
    """Give for each text a few substrings of its letters, drawn by the item's name, or all of a short one.

    Drawn from each text, as a document may hold a problem without its tests.
    """
    drawn = [
        (number, _draw(f"{items[number].benchmark}\0{items[number].name}\0{place}", letters(text), characters))
        for number, place, text in _texts(items)
    ]
    common = _common_windows(
        [letters(item.whole.encode()) for item in items], [text for _, texts in drawn for text in texts]
    )
    for number, texts in drawn:
        own = [text for text in texts if text[:FEWEST_LETTERS] not in common and has_letters(text)]
        yield from (Pattern(first + number, text) for text in own[:SAMPLES])


def _draw(name: str, text: bytes, characters: int) -> list[bytes]:
    """Draw substrings of that many characters; the same name and text always give the same ones."""
    bytes_of = np.frombuffer(text, np.uint8)
    starts = [*np.flatnonzero((bytes_of & 0xC0) != 0x80).tolist(), len(text)]
    last = len(starts) - 1 - characters
    if last <= 0:
        return [text]
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    places = random.Random(seed).sample(range(last + 1), min(DRAWN, last + 1))
    return [text[starts[place] : starts[place + characters]] for place in places]


def _common_windows(texts: Sequence[bytes], drawn: Sequence[bytes]) -> set[bytes]:
    """Give the beginnings of drawn substrings that more than MOST_ITEMS of the benchmark's texts hold."""
    firsts = first_windows(drawn)
    looked_for = hash_set(firsts)
    pairs = [np.zeros(0, np.uint64)]
    for first, batch in batches(texts):
        windows = windows_of(join_texts(batch))
        places, slots = looked_for.find(windows.hashes)
        owners = windows.owners(places) + first
        pairs.append(distinct(slots.astype(np.uint64) << np.uint64(32) | owners.astype(np.uint64)))
    items = np.bincount((np.concatenate(pairs) >> np.uint64(32)).astype(np.int64), minlength=len(looked_for.hashes))
    common = looked_for.hashes[items > MOST_ITEMS]
    return {drawn[number][:FEWEST_LETTERS] for number in np.flatnonzero(np.isin(firsts, common)).tolist()}
