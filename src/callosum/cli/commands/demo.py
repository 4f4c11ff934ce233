"""`callosum demo`: a tour over real DICOM files, ending in a page to look at."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from callosum.core.result import IngestReport, Prediction
    from callosum.service.service import Service

FOLDER = Path("callosum-demo")
FOLDERS = ("test_files", "charset_files")
TEXTS = ("ultrasound of the heart", "CT of the head", "MRI of the abdomen")
IMAGE = "J2K_pixelrep_mismatch.dcm"
CLASSIFIED = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "examples_overlay.dcm",
    "examples_ybr_color.dcm",
    "examples_rgb_color.dcm",
)
LABELS = ("CT of the head", "CT of the chest", "MRI of the abdomen", "ultrasound of the heart", "Doppler ultrasound")
NUM_HITS = 6


@click.command("demo")
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
def command(is_opened: bool) -> None:
    """Index the DICOM files of the pydicom package, search and classify them, and write a page to look at.

    Everything is written to ./callosum-demo, whose archive is made anew each time and stays to be searched further.
    """
    from callosum.cli.output import hits_table, ingest_table, note, predictions_table
    from callosum.cli.page import Question, Tour, render_page
    from callosum.service.service import Query, Service

    archive = _fresh_folder() / "archive"
    service = Service(archive)
    report = _index(service)
    ingest_table(report)
    questions = []
    for text in TEXTS:
        hits = service.search(Query(text=text, k=NUM_HITS))
        hits_table(hits, title=f"{text!r}")
        questions.append(Question(kind="text", title=text, hits=hits))
    example = _file(IMAGE)
    hits = service.search(Query(image=example, k=NUM_HITS))
    hits_table(hits, title=f"images like {example.name}")
    predictions = _classify(service)
    pictures = _thumbnails((IMAGE, *CLASSIFIED))
    questions.append(Question(kind="image", title=f"like {example.name}", hits=hits, picture=pictures[IMAGE]))
    predictions_table(predictions, title="Zero-shot: which of these words fits?")
    shown = {hit.record_id for question in questions for hit in question.hits}
    tour = Tour(
        report=report,
        questions=questions,
        predictions=predictions,
        thumbnails={**pictures, **{record_id: service.show(record_id)["thumbnail"] for record_id in shown}},
        space=service.encoder.space.describe(),
    )
    page = (FOLDER / "index.html").absolute()
    page.write_text(render_page(tour), encoding="utf-8")
    note('Search it further with: callosum search callosum-demo/archive "chest x-ray"')
    click.echo(f"Page: {page}")
    if is_opened:
        click.launch(page.as_uri())


def _fresh_folder() -> Path:
    from callosum.archive.archive import CARD
    from callosum.core.errors import UsageError

    archive = FOLDER / "archive"
    if (archive / CARD).exists():
        shutil.rmtree(archive)
    elif archive.exists() and any(archive.iterdir()):
        message = "./callosum-demo/archive holds something that is no archive."
        raise UsageError(message, hint="Move it away, or run the demo in another folder.")
    FOLDER.mkdir(exist_ok=True)
    return FOLDER


def _folders() -> list[Path]:
    import pydicom

    return [Path(pydicom.__file__).parent / "data" / name for name in FOLDERS]


def _file(name: str) -> Path:
    return _folders()[0] / name


def _index(service: Service) -> IngestReport:
    from callosum.cli.output import progress_bar
    from callosum.data.sources import iter_sources

    total = sum(1 for _ in iter_sources(_folders()))
    with progress_bar("Indexing pydicom's files", total=total) as show:
        return service.index(iter_sources(_folders()), on_progress=lambda progress: show(progress.num_files))


def _classify(service: Service) -> list[Prediction]:
    from callosum.classify.zero_shot import zero_shot

    files = [_file(name) for name in CLASSIFIED]
    return zero_shot(service.encoder, files, LABELS, sources=CLASSIFIED)


def _thumbnails(names: tuple[str, ...]) -> dict[str, bytes]:
    from callosum.archive.entry import make_thumbnail
    from callosum.data.readers import read

    return {name: make_thumbnail(read(_file(name)).display()) for name in names}
