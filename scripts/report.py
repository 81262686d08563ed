#!/usr/bin/env python3
"""Write report.html of a family's runs: python scripts/report.py PIPELINE_FOLDER [--data DATA_FOLDER]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from codellama_train import artifacts
from codellama_train.console import run_program
from codellama_train.report.claims import CLAIMS
from codellama_train.report.headline import print_headline
from codellama_train.report.page import render
from codellama_train.report.pipeline import read_pipeline
from codellama_train.report.verdicts import find

REPORT_FILE = "report.html"


def main(arguments: Sequence[str]) -> None:
    """Read every run of the family, write the page and print the headline numbers."""
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__)
    parser.add_argument("pipeline", type=Path, help="folder of a family's run folders, for example runs/tiny")
    parser.add_argument("--data", type=Path, help="the data run's folder; by default data/<family> beside the pipeline")
    options = parser.parse_args(arguments)
    folder = options.pipeline
    pipeline = read_pipeline(folder, options.data or folder.parent / "data" / folder.name)
    findings = [find(pipeline, claim) for claim in CLAIMS]
    artifacts.write_text(folder / REPORT_FILE, render(pipeline, findings))
    print_headline(findings)
    print(f"the whole report: {folder / REPORT_FILE}")


if __name__ == "__main__":
    run_program(main)
