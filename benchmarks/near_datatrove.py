"""datatrove's four MinHash stages, run by an environment that has datatrove; started by data_near_duplicates.py.

It finds words with spaCy's tokenizer for English; `--plain-words` gives it a fast one, runs of letters and digits.
"""

import argparse
import json
import re
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.typeshelper import Languages
from datatrove.utils.word_tokenizers import WordTokenizer


class Words(WordTokenizer):
    """Splits at what is no word."""

    def word_tokenize(self, text: str) -> list[str]:
        """Give the words."""
        return re.findall(r"\w+", text)

    def sent_tokenize(self, text: str) -> list[str]:
        """Give the whole text."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Give the whole text's span."""
        return [(0, len(text))]


def main() -> None:
    """Do one stage or all four."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--bands", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--signatures-only", action="store_true")
    parser.add_argument("--plain-words", action="store_true")
    options = parser.parse_args()
    config = MinhashConfig(
        n_grams=5,
        num_buckets=options.bands,
        hashes_per_bucket=options.rows,
        hash_config=HashConfig(precision=64),  # as its documentation recommends
    )
    folders = {name: str(options.output / name) for name in ("signatures", "buckets", "clusters", "kept", "logs")}
    tasks = len(list(options.input.glob("*.parquet")))
    reader = ParquetReader(str(options.input))
    language = Words() if options.plain_words else Languages.english

    def execute(name: str, pipeline: list, num_tasks: int) -> None:
        logs = f"{folders['logs']}/{name}"
        LocalPipelineExecutor(pipeline, tasks=num_tasks, workers=options.workers, logging_dir=logs).run()

    if options.signatures_only:
        # In this process, so that what is counted is the stage alone.
        documents = list(reader.run())
        size = sum(len(document.text.encode()) for document in documents)
        stage = MinhashDedupSignature(folders["signatures"], config, language=language)
        started = time.process_time()
        stage.run(iter(documents))
        print(json.dumps({"bytes": size, "cpu_seconds": time.process_time() - started}))
        return
    execute("1", [reader, MinhashDedupSignature(folders["signatures"], config, language=language)], tasks)
    execute("2", [MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=config)], options.bands)
    execute("3", [MinhashDedupCluster(folders["buckets"], folders["clusters"], config=config)], 1)
    execute("4", [reader, MinhashDedupFilter(folders["clusters"]), ParquetWriter(folders["kept"])], tasks)


if __name__ == "__main__":
    main()
