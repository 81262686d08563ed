"""Rules over tags against plain reading, what is refused, and redaction end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import mini_recipe, recipe_table

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_rules import Filters, LanguageFilters
from codellama_train.recipe.loading import as_toml, load
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import ShardSet
from data_prep.filter import filter_reasons, inputs_of
from data_prep.parts import part_names, tags_of
from data_prep.pipeline import prepare
from data_prep.tag import TAG_SCHEMA

LANGUAGES = ["c", "json", "python"]
VALUES = st.one_of(st.none(), st.integers(0, 4))
LIMITS = st.fixed_dictionaries(
    {}, optional={"above": st.integers(0, 4).map(float), "below": st.integers(0, 4).map(float)}
)
LINES = st.dictionaries(st.sampled_from(["num_words", "longest_line"]), LIMITS.filter(bool))
MARKS = st.dictionaries(st.sampled_from(["is_vendored"]), st.sampled_from([{"is": 0}, {"is": 1}]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"language": st.sampled_from(LANGUAGES), "num_words": VALUES, "longest_line": VALUES, "is_vendored": VALUES}
    ),
    min_size=1,
)


@settings(deadline=None)
@given(ROWS, LINES, MARKS, st.dictionaries(st.sampled_from(LANGUAGES), LINES))
def test_a_document_stays_when_no_line_for_its_language_drops_it(rows, lines, marks, languages):
    filters = Filters.model_validate({**lines, **marks, "languages": languages})
    schema = pa.schema(
        {"language": pa.string(), "num_words": pa.int64(), "longest_line": pa.int64(), "is_vendored": pa.int8()}
    )
    reasons = filter_reasons(pa.Table.from_pylist(rows, schema=schema), filters)
    for row, reason in zip(rows, reasons, strict=True):
        assert (reason is not None) == drops(row, {**lines, **marks, **languages.get(row["language"], {})})


def drops(row: dict[str, Any], lines: dict[str, dict[str, float]]) -> bool:
    """Say in plain Python whether any line drops a document."""
    return any(
        row[tag] is not None
        and (
            ("above" in line and row[tag] > line["above"])
            or ("below" in line and row[tag] < line["below"])
            or ("is" in line and row[tag] == line["is"])
        )
        for tag, line in lines.items()
    )


def test_the_licence_in_a_file_counts_before_the_repositorys():
    tags = pa.table(
        {
            "language": ["c"] * 4,
            "license": ["MIT", "MIT", "GPL-3.0", None],
            "license_in_file": [None, "GPL-2.0-only", "MIT", None],
        }
    )
    filters = Filters.model_validate({"license": {"allowed": ["permissive"]}})
    assert filter_reasons(tags, filters) == [None, "license not allowed", None, "license unknown"]


def test_every_line_is_about_a_tag():
    assert set(LanguageFilters.model_fields) <= set(TAG_SCHEMA.names)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("filters.code.comment_fracton.above=0.8", "did you mean 'filters.code.comment_fraction'?"),
        (
            "filters.code.languages.json.num_charcters.above=5",
            "did you mean 'filters.code.languages.json.num_characters'?",
        ),
        (
            "filters.code.languages.jsn.num_characters.above=5",
            "names 'jsn', which is no language; did you mean 'json'?",
        ),
        ("filters.code.stars.below=5", "stars rank the copies of a duplicate, they do not filter"),
        ("filters.code.is_vendored.is=2", "filters.code.is_vendored.is = 2"),
        ("filters.code.license.allowed=['MTI']", "'MTI' is no SPDX identifier"),
        ("filters.code.license.allowed=[]", "filters.code.license.allowed"),
        ("redaction.kinds=['mail']", "'email', 'key' or 'ip_address'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(project, override, message):
    with pytest.raises(UserError) as error:
        inputs_of(load(DataRecipe, project / "recipes/data/tiny.toml", [override]))
    assert message in str(error.value)


def test_rules_are_written_as_they_are_read(tmp_path):
    filters = {
        "mean_line": {"above": 100.0},
        "is_valid_syntax": {"is": 0},
        "license": {"allowed": ["permissive", "MPL-2.0"]},
        "languages": {"c++": {"num_lines": {"above": 5.0}}, "json": {"longest_line": {"above": float("inf")}}},
    }
    recipe = mini_recipe(tmp_path, tmp_path, filters={"code": filters}, redaction={"kinds": ["key"]})
    (tmp_path / "mini.toml").write_text(as_toml(recipe))
    assert load(DataRecipe, tmp_path / "mini.toml") == recipe


SECRET = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3hJ5"


def files_with_private_data(folder: Path) -> Path:
    """Write a few small checkouts whose files name a person and hold a key."""
    for name in ("one", "two", "three", "four", "five", "six"):
        (folder / name / ".git").mkdir(parents=True)
        for number in range(3):
            body = "".join(
                f"def {name}_{number}_{line}(x):\n    return x + {line * 7 + number}\n\n" for line in range(9)
            )
            text = f"# by A. Person <a.person@company.com>\n{body}TOKEN = '{SECRET}'\nHOST = '93.184.216.34'  # é\n"
            (folder / name / f"{name}{number}.py").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("kinds", [None, ["email", "key"]])
def test_texts_are_redacted_where_they_are_encoded_and_nowhere_else(tmp_path, kinds):
    table = recipe_table(tmp_path / "runs", files_with_private_data(tmp_path / "files"))
    table["sources"] = {"code": table["sources"]["code"]}
    table["shards"] = {"code_files": table["shards"]["code_files"]}
    table["filters"] = {"code": {"num_keys": {"above": 1.0}}}
    table |= {"redaction": {"kinds": kinds}} if kinds else {}
    recipe = DataRecipe.model_validate(table)
    prepare(recipe)
    run_dir = recipe.run_dir
    counts = [
        row for part in part_names(run_dir) for row in tags_of(run_dir, part, ["num_emails", "num_keys"]).to_pylist()
    ]
    assert counts == [{"num_emails": 1, "num_keys": 1}] * 18
    assert json.loads((run_dir / "tag" / "manifest.json").read_text())["private"] == {
        "email": 18,
        "key": 18,
        "ip_address": 18,
    }
    tokenizer = open_tokenizer(run_dir / "tokenizer")
    shards = ShardSet(run_dir / "shards" / "code_files" / "train")
    texts = [tokenizer.decode(shards.ids(index).tolist()) for index in range(shards.num_documents)]
    assert texts
    for text in texts:
        assert (SECRET in text, "a.person@company.com" in text) == (kinds is None, kinds is None)
        assert (text.count("<KEY>"), text.count("<EMAIL>")) == ((0, 0) if kinds is None else (1, 1))
        assert "93.184.216.34" in text
        assert text.endswith("# é\n")
