"""The Code Llama paper's own numbers that a report draws beside this run's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MixtureRow:
    """One row of table 1: a source's share of a stage's tokens and how often its data were seen."""

    share: float
    epochs: str
    disk: str


# Table 1: stage → source → row
MIXTURES: dict[str, dict[str, MixtureRow]] = {
    "code": {
        "code": MixtureRow(0.85, "2.03", "859 GB"),
        "related": MixtureRow(0.08, "1.39", "78 GB"),
        "language": MixtureRow(0.07, "0.01", "3.5 TB"),
    },
    "python": {
        "python": MixtureRow(0.75, "3.69", "79 GB"),
        "code": MixtureRow(0.10, "0.05", "859 GB"),
        "related": MixtureRow(0.10, "0.35", "78 GB"),
        "language": MixtureRow(0.05, "0.00", "3.5 TB"),
    },
    "instruct": {  # section 2.5: rehearsal; the rest is instruction data
        "dialogues": MixtureRow(0.92, "not given", "not given"),
        "code": MixtureRow(0.06, "not given", "not given"),
        "language": MixtureRow(0.02, "not given", "not given"),
    },
}
MIXTURE_OF_RUN = {
    "code": "code",
    "code_without_infilling": "code",
    "code_from_scratch": "code",
    "python": "python",
    "instruct": "instruct",
}

SCRATCH_REACHED_AT = (500 - 240) / 500  # figure 5: 240B of 500B tokens saved by starting from Llama 2, 7B
INFILLING_COST_OF_LOSS = (0.407 - 0.408) / 0.408  # table 5, 7B, held-out loss with against without infilling
INFILLING_COST_OF_LOSS_13B = (0.373 - 0.372) / 0.372
SINGLE_LINE_EXACT_MATCH = {"psm": 0.676, "spm": 0.727}  # table 6, 7B, Python
KEY_RETRIEVAL_16K = (0.547, 1.0, 0.984)  # table 17, 7B at 16,384 tokens, key at 0, 0.2 and 0.4
