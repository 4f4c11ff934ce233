"""`callosum index`: files into an archive."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from callosum.cli.options import ARCHIVE, COMPUTING, FILE, JSON, MODEL

EXIT_SKIPPED = 7


@click.command("index")
@ARCHIVE
@click.argument("sources", nargs=-1, type=FILE, metavar="SOURCE...")
@click.option("--manifest", type=FILE, help="CSV or Parquet.")
@MODEL
@COMPUTING
@click.option("--resume", is_flag=True, help="Continue an interrupted run; files it refused are not tried again.")
@click.option("--dry-run", is_flag=True, help="Read every file and say what would become of it; write nothing.")
@JSON
def command(
    archive: Path,
    sources: tuple[Path, ...],
    manifest: Path | None,
    model: str | None,
    computing: dict[str, Any],
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Index the files of each SOURCE (a file, or a folder with all below it) into ARCHIVE.

    A manifest is CSV or Parquet with a column `path`, relative to it; `images.tar:member` is read in place. The
    columns id, text, patient_id, study_id, modality, body_part and split have their meaning; every other one becomes
    an attribute that a search can filter on.

    Indexing the same files again adds nothing. The exit code is 7 when some file was not indexed; the reason for each
    is in the output.

    \b
    Examples:
      callosum index archive scans/
      callosum index archive --manifest study/manifest.csv --json
    """
    from callosum.cli.output import ingest_table, note, progress_bar, write_json, write_problems
    from callosum.core.errors import Interrupted, UsageError
    from callosum.data.manifest import count_rows, read_manifest
    from callosum.data.sources import iter_sources
    from callosum.service.ingest import IngestConfig, Progress
    from callosum.service.service import Service

    if bool(sources) == (manifest is not None):
        message = "Index either SOURCEs or a --manifest."
        raise UsageError(message)
    found = read_manifest(manifest) if manifest else iter_sources(sources)
    total = count_rows(manifest) if manifest else sum(1 for _ in iter_sources(sources))
    with progress_bar("Reading" if dry_run else "Indexing", total=total) as show:

        def on_progress(progress: Progress) -> None:
            show(progress.num_files)
            if as_json:
                write_problems(progress.problems)

        try:
            report = Service(archive, model=model, computing=computing).index(
                found, config=IngestConfig(is_resumed=resume), is_dry_run=dry_run, on_progress=on_progress
            )
        except KeyboardInterrupt:
            what = ["--manifest", manifest] if manifest else sources
            more = ["--model", model] if model else []
            chosen = {name: value for name, value in computing.items() if value not in ("fp32", "auto")}
            more += [part for name, value in chosen.items() for part in (f"--{name}", value)]
            flags = [flag for flag, is_on in (("--dry-run", dry_run), ("--json", as_json)) if is_on]
            again = shlex.join(["callosum", "index", *map(str, (archive, *what, *more, *flags)), "--resume"])
            note(f"Continue with: {again}")
            message = "Stopped; what was acknowledged is kept."
            raise Interrupted(message, hint="Give the same command with --resume to continue.") from None
    if as_json:
        write_json([report.to_json()])
    else:
        ingest_table(report, title="Would be indexed" if dry_run else "Indexed")
    if report.skipped:
        verb = "would not be" if dry_run else "were not"
        note(f"{report.skipped} of {total} files {verb} indexed; each has its reason above.")
    return EXIT_SKIPPED if report.skipped else 0
