"""`callosum index`: files into an archive."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import ARCHIVE, COMPUTING, FILE, JSON, MODEL, READING

if TYPE_CHECKING:
    from callosum.service.outcome import ReadingConfig

EXIT_SKIPPED = 7


@click.command("index")
@ARCHIVE
@click.argument("sources", nargs=-1, type=FILE, metavar="SOURCE...")
@click.option("--manifest", type=FILE, help="CSV or Parquet.")
@click.option("--reports", type=FILE, help="CSV or Parquet: text, and study_uid, accession or study_id.")
@READING
@MODEL
@COMPUTING
@click.option("--resume", is_flag=True, help="Continue an interrupted run; files it refused are not tried again.")
@click.option("--dry-run", is_flag=True, help="Read every file and say what would become of it; write nothing.")
@JSON
def command(
    archive: Path,
    sources: tuple[Path, ...],
    manifest: Path | None,
    reports: Path | None,
    reading: ReadingConfig,
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

    A file of many frames or slices gives several rows, a whole slide one for each tile with tissue. Reports (text, IU
    XML, DICOM SR, or the rows of --reports) are joined to the pictures of their study, whichever comes first. Zip and
    tar files are walked.

    Indexing the same files again adds nothing. The exit code is 7 when some file was not indexed; the reason for each
    is in the output.

    \b
    Examples:
      callosum index archive scans/
      callosum index archive --manifest study/manifest.csv --json
      callosum index archive ct/ --window lung+mediastinum+bone
    """
    from callosum.cli.interruption import Interruption
    from callosum.cli.output import ingest_table, note, progress_bar, write_json, write_problems
    from callosum.core.errors import Interrupted, UsageError
    from callosum.data.manifest import count_rows, read_manifest
    from callosum.data.sources import iter_sources
    from callosum.service.ingest import IngestConfig, Progress
    from callosum.service.report_table import count_reports
    from callosum.service.service import Service

    if (sources and manifest) or not (sources or manifest or reports):
        message = "Index either SOURCEs or a --manifest, or --reports alone."
        raise UsageError(message)
    found = read_manifest(manifest) if manifest else iter_sources(sources)
    total = count_rows(manifest) if manifest else sum(1 for _ in iter_sources(sources))
    total += count_reports(reports) if reports else 0
    bar = progress_bar("Reading" if dry_run else "Indexing", total=total)
    with Interruption() as interruption, bar as show:

        def on_progress(progress: Progress) -> None:
            interruption.check()
            show(progress.num_files, total=total + progress.num_found)
            if as_json:
                write_problems(progress.problems)

        try:
            report = Service(archive, model=model, computing=computing).index(
                found,
                reports=reports,
                config=IngestConfig(is_resumed=resume, reading=reading),
                is_dry_run=dry_run,
                on_progress=on_progress,
            )
        except KeyboardInterrupt:
            given = [part for part in sys.argv[1:] if part != "--resume"]
            again = shlex.join(["callosum", *given, "--resume"])
            note(f"Continue with: {again}")
            message = "Stopped; what was acknowledged is kept."
            raise Interrupted(message, hint="Give the same command with --resume to continue.") from None
    if as_json:
        write_json([report.to_json()])
    else:
        ingest_table(report, title="Would be indexed" if dry_run else "Indexed")
    if report.skipped:
        verb = "would not be" if dry_run else "were not"
        note(f"{report.skipped} of {report.num_files} files {verb} indexed; each has its reason above.")
    return EXIT_SKIPPED if report.skipped else 0
