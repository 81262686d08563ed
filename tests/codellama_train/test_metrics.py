"""Loss sums and the record on disk."""

from __future__ import annotations

import json

import pytest
import torch

from codellama_train.metrics import LossSums, keep_until
from codellama_train.tokens.rows import IGNORED


def test_losses_are_told_apart_by_source_and_infilling():
    sums = LossSums(2, torch.device("cpu"))
    losses = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    labels = torch.tensor([[5, 6, 7, IGNORED]])
    source = torch.tensor([[0, 0, 1, 1]], dtype=torch.uint8)
    infilled = torch.tensor([[True, False, False, False]])
    sums.add(losses, labels, source=source, infilled=infilled)
    record = sums.as_record(["code", "language"])
    assert record["loss"] == pytest.approx(7 / 3)
    assert record["loss_by_source"] == {"code": 1.5, "language": 4.0}
    assert (record["loss_infilled"], record["loss_plain"]) == (1.0, 3.0)
    assert sums.total_loss() == 7.0


def test_a_source_without_tokens_has_no_loss():
    sums = LossSums(2, torch.device("cpu"))
    everywhere = torch.zeros(1, 3, dtype=torch.long)
    sums.add(torch.ones(1, 3), everywhere, source=everywhere, infilled=everywhere.bool())
    assert sums.as_record(["code", "language"])["loss_by_source"] == {"code": 1.0, "language": None}


def test_resuming_drops_later_records_and_half_a_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = [{"step": step, "loss_by_source": {"code": 1.0}} for step in (5, 10, 15)]
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_text(text + '{"step": 20, "loss_by_source": {"code": 1.0}')
    keep_until(path, 10)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [5, 10]
