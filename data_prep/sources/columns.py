"""Which column of a row says what: the names of published data sets, and those a recipe gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from codellama_train.console import UserError
from codellama_train.recipe.data_sources import RowField, RowsTable

METADATA = "metadata"  # a column of columns, as dolma and datatrove write them

# The first name that a row has is taken. The Stack v1 and StarCoderData say max_…, The Stack v2 the short names,
# dolma and datatrove text, created and metadata.
NAMES: dict[RowField, tuple[str, ...]] = {
    "text": ("content", "text"),
    "messages": ("messages", "conversations"),
    "prompt": ("prompt",),
    "completion": ("completion",),
    "files": ("files",),  # The Stack v2's training sets: one row per repository
    "repository": ("max_stars_repo_name", "repo_name", "repository"),
    "path": ("max_stars_repo_path", "path"),
    "extension": ("ext", "extension"),
    "language": ("lang", "language"),
    "license": ("max_stars_repo_licenses", "detected_licenses", "license"),
    "stars": ("max_stars_count", "star_events_count", "stars"),
    "forks": ("max_forks_count", "fork_events_count", "forks"),
    "revision_time": ("revision_date", "committer_date", "revision_time", "created"),
    "vendored": ("is_vendor",),
    "generated": ("is_generated",),
}
SOFTWARE_HERITAGE_ID = "blob_id"
DIALOGUE_FIELDS: tuple[RowField, ...] = ("messages", "prompt", "completion")
TEXT_FIELDS: tuple[RowField, ...] = ("text", "files")


class Columns:
    """Finds the fields of a source's rows."""

    def __init__(self, source: RowsTable) -> None:
        own = {field: (name,) for field, name in source.columns.items()}
        unused = TEXT_FIELDS if source.role == "instruction" else DIALOGUE_FIELDS
        self._names = {field: names for field, names in {**NAMES, **own}.items() if field not in unused}
        self._is_instruction = source.role == "instruction"

    def find(self, row: Mapping[str, Any], field: RowField) -> Any:
        """Give what a row says of a field; None where it says nothing."""
        metadata = row.get(METADATA)
        for name in self._names.get(field, ()):
            for place in (row, metadata) if isinstance(metadata, Mapping) else (row,):
                if (value := _at(place, name)) is not None:
                    return value
        return None

    def tops(self, available: Collection[str]) -> list[str]:
        """Give the columns that need to be read, of those there are."""
        wanted = {name.partition(".")[0] for names in self._names.values() for name in names} | {METADATA}
        return [name for name in available if name in wanted]

    def require(self, key: str, where: str, row: Mapping[str, Any]) -> None:
        """Refuse a source whose rows have no column for what its role needs; `row` is the first, or a schema's."""
        shape = _shape(row)
        listed = ", ".join(sorted(shape)) or "(none)"
        if self._is_instruction:
            pair = self.find(shape, "prompt") and self.find(shape, "completion")
            if not (self.find(shape, "messages") or pair):
                raise UserError(
                    f"{key}: the rows of {where} have the columns {listed}, and role='instruction' needs messages, or "
                    "prompt and completion; name them, for example columns = { prompt = 'question' }"
                )
            return
        files = self.find(shape, "files")
        whole = {**shape, **files[0]} if isinstance(files, list) and files else shape
        if self.find(whole, "text"):
            return
        if SOFTWARE_HERITAGE_ID in whole:
            raise UserError(
                f"{key}: {where} holds ids of files ({SOFTWARE_HERITAGE_ID}) and not their contents; download the "
                "contents from Software Heritage first, as the data set's card shows, into a column named content"
            )
        raise UserError(
            f"{key}: the rows of {where} have the columns {listed}, none of which is the text; name it, for example "
            "columns = { text = 'body' }"
        )


def _shape(value: Any) -> Any:
    """Give a row with what says only which columns there are in place of its values."""
    if isinstance(value, Mapping):
        return {name: _shape(item) for name, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_shape(value[0])]
    return True


def _at(row: Mapping[str, Any], name: str) -> Any:
    """Look a column up, by its name or by a dotted path into columns of columns."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
