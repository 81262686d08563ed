"""What is known of each document while duplicates are searched: one byte per row, in a file."""

from __future__ import annotations

FILTERED, SEARCHED, EXACT_COPY, NEAR_COPY, EXACTLY_RELEASED, NEARLY_RELEASED = range(6)
REASONS = {
    EXACT_COPY: "exact_duplicate",
    NEAR_COPY: "near_duplicate",
    EXACTLY_RELEASED: "exact_duplicate_of_earlier_release",
    NEARLY_RELEASED: "near_duplicate_of_earlier_release",
}
