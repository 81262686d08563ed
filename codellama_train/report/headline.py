"""The few numbers that answer the paper's main questions, for the terminal and the top of the report."""

from __future__ import annotations

from collections.abc import Sequence

from codellama_train.console import print_table
from codellama_train.report.verdicts import Finding

HEADLINE = ("base_gain", "infilling_cost", "infilling_learnt", "suffix_used_psm", "long_gain", "long_net")


def print_headline(findings: Sequence[Finding]) -> None:
    """Print each headline number with its interval and verdict."""
    chosen = {finding.claim.key: finding for finding in findings}
    rows = [_row(chosen[key]) for key in HEADLINE]
    print_table("What this run shows", ["measured", "values", "difference", "95 % interval", "n", "verdict"], rows)


def _row(finding: Finding) -> list[str]:
    claim, measured = finding.claim, finding.measured
    if measured is None:
        return [claim.quantity, "", "", "", "", f"{finding.verdict}: {finding.reason}"]
    interval = measured.interval
    values = "" if measured.level is None else f"{measured.level + interval.value:.3f} − {measured.level:.3f}"  # noqa: RUF001
    return [
        f"{claim.quantity}, {claim.unit}",
        values,
        f"{interval.value:+.3f}",
        f"{interval.low:+.3f} to {interval.high:+.3f}",
        f"{measured.num_items} {measured.item_noun}",
        str(finding.verdict),
    ]
