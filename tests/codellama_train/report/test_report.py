"""The report against the scores it is made from, and without the pieces it may lack."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from html import escape
from html.parser import HTMLParser

import pytest

from codellama_train.console import UserError
from codellama_train.report.claims import CLAIMS
from codellama_train.report.headline import HEADLINE
from codellama_train.report.page import render
from codellama_train.report.pipeline import read_pipeline
from codellama_train.report.training_charts import reached_at
from codellama_train.report.verdicts import Verdict, find
from codellama_train.run_records import read_metrics

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Outline(HTMLParser):
    """Checks that every element is closed in order, and collects what a test may ask for."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.links, self.text, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"<{tag}> has an attribute twice: {attrs}"
        self.links += [attributes[name] for name in ("href", "src", "data") if attributes.get(name)]
        self.ids += [attributes["id"]] if tag in ("section", "div") and "id" in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def outline_of(html):
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert not parser.open, parser.open
    return parser


def page_of(folder):
    pipeline = read_pipeline(folder, folder.parent / "data" / "tiny")
    findings = [find(pipeline, claim) for claim in CLAIMS]
    return render(pipeline, findings), {finding.claim.key: finding for finding in findings}


@pytest.fixture(scope="module")
def whole(finished_family):
    return page_of(finished_family)


@pytest.fixture
def family(tmp_path, finished_family):
    shutil.copytree(finished_family.parent, tmp_path / "runs", ignore=shutil.ignore_patterns("final"))
    return tmp_path / "runs/tiny"


def test_page_is_whole_html_that_needs_nothing_else(whole):
    html, _ = whole
    outline = outline_of(html)
    assert "script" not in outline.names
    assert {link[0] for link in outline.links} == {"#"}, "links go to the page itself"
    assert "url(http" not in html
    assert "@import" not in html
    assert outline.names.count("svg") > 10
    assert not re.search("#0102[0-9a-f]{2}", html), "a chart has a colour that is not the page's"
    assert 'name="viewport"' in html


def test_losses_in_the_page_are_those_of_the_scores(whole, finished_family):
    text = "".join(outline_of(whole[0]).text)
    for path in finished_family.glob("*/scores.json"):
        for source, loss in json.loads(path.read_text())["loss"].items():
            assert f"{loss['nats_per_token']['value']:.3f}" in text, (path, source)
            assert f"{loss['bits_per_byte']['value']:.3f} bits/byte" in text, (path, source)


def sums(family, run, probe, part):
    return json.loads((family / run / f"scores/{probe}.json").read_text())["items"][part]


def test_findings_are_differences_of_what_was_scored(whole, finished_family):
    findings, family = whole[1], finished_family
    without, scratch = (sums(family, run, "loss", "code") for run in ("code_without_infilling", "code_from_scratch"))
    gap = (sum(scratch["nats"]) - sum(without["nats"])) / sum(without["tokens"])
    assert findings["base_gain"].measured.interval.value == pytest.approx(gap), "compared on equal data: no infilling"
    assert findings["base_gain"].measured.num_items == len(without["id"])

    lines = sums(family, "code", "infilling", "single_line")
    gain = (sum(lines["nats"]["prefix_only"]) - sum(lines["nats"]["psm"])) / sum(lines["bytes"])
    assert findings["suffix_used_psm"].measured.interval.value == pytest.approx(gain)

    before, after = (sums(family, run, "positions", "256") for run in ("code", "long_context"))
    beyond = [index for index, start in enumerate(before["bounds"][:-1]) if start >= 128]
    tokens = sum(before["tokens"][index] for index in beyond) * len(before["id"])
    totals = [sum(row[index] for row in items["as_trained"] for index in beyond) for items in (before, after)]
    assert findings["long_gain"].measured.interval.value == pytest.approx((totals[0] - totals[1]) / tokens)


def test_each_finding_stands_in_the_page_with_its_interval_and_verdict(whole):
    html, findings = whole
    for key, finding in findings.items():
        start = html.rindex(f'id="{key}"')
        shown = html[start : html.find('<div class="card"', start + 1)]
        assert f">{finding.verdict}<" in shown
        assert escape(finding.claim.paper).replace(" %", "\u00a0%") in shown
        if finding.measured is None:
            assert finding.verdict == Verdict.MISSING
            assert finding.reason in shown
        elif finding.claim.unit.startswith("nats"):
            for value in (finding.measured.interval.value, finding.measured.interval.low):
                assert f"{value:+.3f}".replace("-", "−") in shown  # noqa: RUF001


def test_what_was_not_run_is_not_measured(whole):
    findings = whole[1]
    assert (findings["lora_gain"].verdict, findings["lora_gain"].reason) == (Verdict.MISSING, "there is no run lora")
    assert findings["python_gain"].reason == "there is no run python"


def test_every_section_is_there_and_in_the_contents(whole):
    outline = outline_of(whole[0])
    sections = [name for name in outline.ids if f"#{name}" in outline.links]
    assert sections == [link[1:] for link in outline.links if link[1:] in sections]
    assert {"headline", "data", "mixture", "training", "infilling", "long_context", "samples", "method"} <= set(
        sections
    )


def test_text_from_outside_is_escaped(whole):
    assert "<script>" not in whole[0]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in whole[0]


REMOVALS = {
    "data report": ("data/tiny/data_report.json", "Not there: data_report.json"),
    "all metrics": ("tiny/*/metrics.jsonl", "Not there: metrics.jsonl of any run"),
    "all scores": ("tiny/*/scores.json", "Not there: held-out losses"),
    "all recipes": ("tiny/*/recipe.toml", "Not there: a run with its recipe"),
    "all items": ("tiny/*/scores/*.json", "Not there: infilling scores of the code model"),
    "sources": ("tiny/*/source.json", "How it was measured"),
    "one run's scores": ("tiny/code/scores.json", "code has no scores yet"),
    "the positions": ("tiny/*/scores/positions.json", "not measured"),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_page_says_what_is_not_there(family, removal):
    pattern, said = REMOVALS[removal]
    removed = list(family.parent.glob(pattern))
    assert removed
    for path in removed:
        path.unlink()
    html, findings = page_of(family)
    outline_of(html)
    assert said in html
    assert len(findings) == len(CLAIMS)


@pytest.mark.parametrize("name", ["base", "code", "long_context"])
def test_page_does_without_any_one_run(family, name):
    shutil.rmtree(family / name)
    html, findings = page_of(family)
    outline_of(html)
    assert f"there is no run {name}" in {finding.reason for finding in findings.values()}


def test_a_single_run_that_just_started_has_a_page(tmp_path):
    (tmp_path / "tiny/base").mkdir(parents=True)
    (tmp_path / "tiny/base/recipe.toml").write_text(
        "[model]\nrope_theta = 1.0\n[data]\nsequence_length = 4\n[data.sources]\n"
    )
    html, findings = page_of(tmp_path / "tiny")
    outline_of(html)
    assert all(finding.verdict == Verdict.MISSING for finding in findings.values())


def test_models_scored_on_other_documents_are_not_compared(family):
    path = family / "code/scores/loss.json"
    stored = json.loads(path.read_text())
    stored["items"]["code"]["id"][0] = "00"
    path.write_text(json.dumps(stored))
    _, findings = page_of(family)
    assert (
        findings["infilling_cost"].reason == "code and code_without_infilling were scored on different held-out items"
    )


def test_runs_on_other_data_are_not_compared_with_scratch(family):
    for name in ("code", "code_without_infilling"):
        path = family / name / "recipe.toml"
        path.write_text(path.read_text().replace("40960", "50000"))
    _, findings = page_of(family)
    assert "saw the same data and tokens" in findings["base_gain"].reason


def test_share_of_tokens_to_reach_the_other_runs_last_loss(family):
    pipeline = read_pipeline(family, family)
    mark = reached_at(pipeline, "code_without_infilling", "code_from_scratch", paper_share=0.52)
    assert mark is not None
    losses = [4.0 / (1 + step / 10) for step in (36, 38, 40)]
    target = 3.0 + sum(losses) / 3
    assert mark.loss == pytest.approx(target)
    steps = range(6, 41, 2)
    mean = {step: 3.0 + sum(4.0 / (1 + 3 * each / 10) for each in (step, step - 2, step - 4)) / 3 for step in steps}
    assert mark.share == pytest.approx(min(step for step in steps if mean[step] <= target) / 40)
    assert reached_at(pipeline, "code_from_scratch", "code_without_infilling", paper_share=0.52) is None


def test_metrics_keep_the_later_record_of_a_step_and_pass_over_a_torn_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2, "loss": 5}\n{"step": 4, "loss": 4}\n{"step": 2, "loss": 3}\n{"step": 6, "lo')
    assert read_metrics(path) == [{"step": 2, "loss": 3}, {"step": 4, "loss": 4}]
    path.write_text('{"step"\n{"step": 4, "loss": 4}\n')
    with pytest.raises(UserError, match="line 1 is not JSON"):
        read_metrics(path)


@pytest.fixture
def script(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project / "scripts"))
    return importlib.import_module("report")


def test_report_py_writes_the_page_and_prints_the_headline(script, family, capsys):
    script.main([str(family)])
    printed = capsys.readouterr().out
    html = (family / "report.html").read_text()
    outline_of(html)
    assert "1,234" in html, "the data folder beside the pipeline is found"
    _, findings = page_of(family)
    for key in HEADLINE:
        finding = findings[key]
        assert finding.claim.quantity.split()[0] in printed
        if finding.measured:
            assert f"{finding.measured.interval.value:+.3f}" in printed
            assert f"{finding.measured.interval.high:+.3f}" in printed
    assert "report.html" in printed


def test_report_py_refuses_a_folder_without_runs(script, tmp_path):
    with pytest.raises(UserError, match="there are no runs at"):
        script.main([str(tmp_path / "missing")])
    with pytest.raises(UserError, match="holds no run"):
        script.main([str(tmp_path)])
