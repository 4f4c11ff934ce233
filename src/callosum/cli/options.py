"""Shared options, each with one spelling."""

from __future__ import annotations

from pathlib import Path

import click

ARCHIVE = click.argument("archive", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON lines instead of a table.")
MODEL = click.option("--model", metavar="NAME", help="Checkpoint, as `callosum model list` names it.")
FILE = click.Path(path_type=Path)
