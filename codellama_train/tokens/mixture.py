"""Which document a lane reads next: the order within each source, and the turns that sources take.

Lane j's k-th document of a source is draw k·lanes + j of one order that all lanes share, so that each document comes
once per epoch. Turns are taken by due times: a document is due when the middle of its tokens is, were its source read
in exactly its share of all tokens. A source is then ahead or behind by at most half a document of that clock, and
on average by nothing, whatever the lengths of documents; handing the turn to the largest deficit instead would favour
rare sources by half a document in each lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from codellama_train.tokens.permutation import Permutation
from codellama_train.tokens.shards import ShardSet

GOLDEN_RATIO = 0.6180339887498949
SAMPLED_LENGTHS = 1_000
STAGGER_DOCUMENTS = 8
LANES_THAT_EVEN_OUT = 64


@dataclass(frozen=True)
class MixtureSource:
    """A source, its share of all tokens, its documents, and the chance that one is infilled (None: all in order)."""

    name: str
    share: float
    shards: ShardSet
    infilling_rate: float | None = None

    @property
    def is_dialogues(self) -> bool:
        """Dialogues bring their own BOS and EOS and say which tokens are predicted."""
        return self.shards.kind == "dialogues"

    def stream_length(self, document: int) -> int:
        """Count the tokens of a document in order, BOS and EOS included."""
        return self.shards.length(document) + (0 if self.is_dialogues else 2)


class Draw(NamedTuple):
    """A document of a source, and how often all documents have come before."""

    document: int
    epoch: int


@dataclass(frozen=True)
class DocumentOrder:
    """The order in which the lanes read one source."""

    source: MixtureSource
    seed: int
    num_lanes: int

    def draw(self, lane: int, number: int) -> Draw:
        """Give the lane's document of that number, counted from 0; a source smaller than the lanes works too."""
        return self.at(number * self.num_lanes + lane)

    def at(self, place: int) -> Draw:
        """Give the document at a place of the endless order, one epoch after another."""
        size = self.source.shards.num_documents
        epoch, place = divmod(place, size)
        return Draw(document=epoch_order(size, self.seed, self.source.name, epoch)(place), epoch=epoch)


@lru_cache(maxsize=64)
def epoch_order(size: int, seed: int, source: str, epoch: int) -> Permutation:
    """Give a source's order in an epoch."""
    return Permutation(size, seed=seed, source=source, epoch=epoch)


def due_time(*, tokens: float, length: int, share: float) -> float:
    """Give when a source's next document is due, on the clock of all tokens: its middle decides."""
    return (tokens + length / 2) / share


def starting_credits(lane: int, *, shares: Sequence[float], span: float) -> list[float]:
    """Give the tokens by which each source counts as behind when a lane starts, so that lanes are out of step.

    One source is owed up to `span` tokens. Over many lanes it is each source as often as its share says, and owed as
    much as any other, so that the first step already holds the shares. Multiples of the golden ratio spread the lanes
    evenly, however many there are.
    """
    phase = (0.5 + lane * GOLDEN_RATIO) % 1.0
    owed = [0.0] * len(shares)
    for index, share in enumerate(shares):
        if phase < share or index == len(shares) - 1:
            owed[index] = min(phase / share, 1.0) * span
            break
        phase -= share
    return owed


def stagger_span(orders: Sequence[DocumentOrder]) -> float:
    """Give the tokens over which lanes are spread at their start: some documents as a random token finds them.

    At most the longest document, so that staggering leaves no source behind by more than that; and less for few lanes,
    whose differences do not even out.
    """
    longest_document: int = max(order.source.shards.manifest["longest_document"] for order in orders)
    num_documents = STAGGER_DOCUMENTS * min(1.0, orders[0].num_lanes / LANES_THAT_EVEN_OUT)
    return min(longest_document, num_documents * max(length_around_a_token(order) for order in orders))


def length_around_a_token(order: DocumentOrder) -> float:
    """Estimate the mean length of the document that a random token of the source belongs to."""
    sample = range(min(order.source.shards.num_documents, SAMPLED_LENGTHS))
    lengths = [order.source.stream_length(order.at(place).document) for place in sample]
    return sum(length * length for length in lengths) / sum(lengths)
