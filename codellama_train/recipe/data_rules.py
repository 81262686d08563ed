"""The lines of a data recipe that decide over tags: which documents stay, and what of a text is replaced."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, Field, model_serializer, model_validator

from codellama_train.recipe.loading import RecipeTable

PrivateKind = Literal["email", "key", "ip_address"]
# Entries of `license.allowed` that stand for many licences, or for none.
PERMISSIVE, UNKNOWN = "permissive", "unknown"


class Limit(RecipeTable):
    """Drop a document whose tag lies above or below a threshold; one whose tag is not known stays."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Limit:
        if self.above is None and self.below is None:
            raise ValueError("a filter line needs above = … or below = …")
        return self


class Mark(RecipeTable):
    """Drop a document whose mark is this; one whose mark is not known stays."""

    dropped: Annotated[Literal[0, 1], Field(alias="is")]

    @model_serializer
    def _as_written(self) -> dict[str, int]:
        return {"is": self.dropped}


def _license_identifier(name: str) -> str:
    if name in (PERMISSIVE, UNKNOWN):
        return name
    try:
        expression = canonicalize_license_expression(name)
    except InvalidLicenseExpression as error:
        raise ValueError(
            f"{name!r} is no SPDX identifier (https://spdx.org/licenses), {PERMISSIVE!r} or {UNKNOWN!r}"
        ) from error
    if " " in expression:
        raise ValueError(f"{name!r} names more than one licence; list them one by one")
    return expression


class LicenseRule(RecipeTable):
    """Drop a document whose licence is none of these; of `A OR B` one is enough, of `A AND B` both are needed."""

    allowed: Annotated[list[Annotated[str, AfterValidator(_license_identifier)]], Field(min_length=1)]


class LanguageFilters(RecipeTable):
    """One line per tag that decides; docs/data_rules.md says what each tag is, and where thresholds come from."""

    num_characters: Limit | None = None
    num_words: Limit | None = None
    num_lines: Limit | None = None
    longest_line: Limit | None = None
    mean_line: Limit | None = None
    alphanumeric_fraction: Limit | None = None
    alphabetic_fraction: Limit | None = None
    digit_fraction: Limit | None = None
    comment_fraction: Limit | None = None
    duplicate_line_fraction: Limit | None = None
    encoded_fraction: Limit | None = None
    longest_encoded_run: Limit | None = None
    visible_characters: Limit | None = None
    visible_fraction: Limit | None = None
    generated_marks: Limit | None = None
    num_emails: Limit | None = None
    num_keys: Limit | None = None
    num_ip_addresses: Limit | None = None
    is_vendored: Mark | None = None
    is_minified: Mark | None = None
    has_xml_declaration: Mark | None = None
    is_valid_syntax: Mark | None = None


class Filters(LanguageFilters):
    """The filters of a source; what `languages` says of one language replaces the same line for it."""

    license: LicenseRule | None = None
    languages: dict[str, LanguageFilters] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _stars_rank(cls, table: Any) -> Any:
        for key in ("stars", "forks"):
            if isinstance(table, dict) and key in table:
                raise ValueError(
                    f"{key} rank the copies of a duplicate, they do not filter: SantaCoder's models got worse by "
                    f"a filter on stars; remove {key} from the filters"
                )
        return table

    def of_language(self, language: str) -> dict[str, Limit | Mark]:
        """Give the lines that hold for a language, in the order of the tags."""
        own = self.languages.get(language)
        lines: dict[str, Limit | Mark] = {}
        for tag in LanguageFilters.model_fields:
            line = getattr(own, tag, None) or getattr(self, tag)
            if line is not None:
                lines[tag] = line
        return lines


class Redaction(RecipeTable):
    """What is replaced in every text before it is encoded."""

    kinds: Annotated[list[PrivateKind], Field(min_length=1)]
