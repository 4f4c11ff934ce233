"""One source to pictures for the encoder, to batches of tiles, or to a report; what is wrong becomes an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from callosum.archive.entry import THUMBNAIL_PX, entry_from_image
from callosum.archive.reports import report_entry
from callosum.core.digest import digest_bytes
from callosum.core.errors import MissingDependency, Refused
from callosum.core.record import Answer, Image
from callosum.data.containers import is_container, member_names
from callosum.data.poison import PoisonList
from callosum.data.readers import read_pictures
from callosum.data.readers.refusal import Reason
from callosum.data.report import read_report, unlinked
from callosum.data.slides import TileBatch, expand, is_slide, read_tiles, slide_digest
from callosum.data.sources import Source
from callosum.service.extraction import caption_columns, report_columns
from callosum.service.outcome import (
    Expanded,
    Job,
    Outcome,
    Readied,
    ReadReport,
    Ready,
    Unchanged,
    Walked,
    unreadable,
)

_MAY_BE_REPORT = frozenset({Reason.NOT_AN_IMAGE, Reason.NOT_AN_IMAGE_OBJECT})
"""Answers to a file without a picture which may still be a text or a structured report."""

TILES_AT_ONCE = 16
"""Tiles of one source: enough to pay for its way to the process, few enough that a full queue of them is small."""

_NO_REPORT = frozenset({Reason.NOT_A_REPORT, Reason.NOT_TEXT})


def prepare(source: Source, job: Job, poison: PoisonList) -> Outcome:
    """Read, render and prepare one source."""
    digest = ""
    try:
        if source.tiles:
            digest = source.tiles.batch_id
            poison.check(digest)
            return _batch(source, source.tiles, job)
        if not source.member and is_slide(source.location):
            digest = slide_digest(source.location)
            poison.check(digest)
            return _expanded(source, digest, job)
        if not source.member and is_container(source.location):
            try:
                return _walked(source)
            except Refused:
                digest = slide_digest(source.location)
                raise
        data = source.read_bytes()
        digest = digest_bytes(data)
        if _is_known(digest, job.known):
            return Unchanged(source=source.name, source_digest=digest)
        poison.check(digest)
        return _pictures_or_report(source, data, digest, job)
    except Refused as refused:
        found = unreadable(source, Answer(refused.answer), refused.reason, refused.sentence, digest)
        return replace(found, attributes=refused.attributes)
    except MissingDependency as missing:
        return unreadable(source, Answer.QUARANTINE, "READER_MISSING", str(missing), digest)
    except MemoryError:
        return unreadable(source, Answer.REJECT, "OUT_OF_MEMORY", "The file needs more memory than there is.", digest)
    except Exception as error:  # a fault of ours or of a library: say its kind, never its words, which may name someone
        sentence = f"Reading failed with an error that was not foreseen ({type(error).__name__})."
        return unreadable(source, Answer.QUARANTINE, "UNEXPECTED_ERROR", sentence, digest)


def _pictures_or_report(source: Source, data: bytes, digest: str, job: Job) -> Outcome:
    try:
        images = list(read_pictures(data, limit=job.reading.max_pictures, digest=digest))
    except Refused as refused:
        if refused.reason not in _MAY_BE_REPORT:
            raise
        return _report(source, data, digest, job, otherwise=refused)
    if len(images) > 1:
        images = [_in_series(image, digest) for image in images]
    return Readied(pictures=tuple(_ready(images, source, job)))


def _report(source: Source, data: bytes, digest: str, job: Job, *, otherwise: Refused) -> ReadReport:
    """The report that a file without a picture is; the answer to the picture when it is none."""
    try:
        report = read_report(data, digest=digest)
    except Refused as refused:
        raise (otherwise if refused.reason in _NO_REPORT else refused) from None
    entry = replace(report_entry(report), **report_columns(report))
    if not (entry.study_id or entry.accession_id):
        raise unlinked()
    return ReadReport(source=source.name, source_digest=digest, report=entry.pseudonymous(job.key), flags=report.flags)


def _in_series(image: Image, name: str) -> Image:
    """Pictures of one file are a series, also where the format knows no series."""
    return replace(image, identifiers={"series_uid": name, **image.identifiers})


def _expanded(source: Source, digest: str, job: Job) -> Expanded | Unchanged:
    if _is_known(digest, job.known):  # refused before; the tiles of one that was not are known by their batches
        return Unchanged(source=source.name, source_digest=digest)
    plan = expand(source.location, config=job.reading.slides, digest=digest)
    batches = tuple(replace(source, tiles=batch) for batch in plan.batches(TILES_AT_ONCE))
    return Expanded(source=source.name, source_digest=plan.source_digest, parts=batches, flags=plan.flags)


def _walked(source: Source) -> Walked:
    names = member_names(source.location)
    return Walked(parts=tuple(replace(source, name=f"{source.name}:{name}", member=name) for name in names))


def _batch(source: Source, batch: TileBatch, job: Job) -> Readied | Unchanged:
    slide, num_tiles = batch.source_digest, len(batch.positions)
    if _is_known(batch.batch_id, job.known):
        return Unchanged(source=source.name, source_digest=batch.batch_id, slide=slide, num_tiles=num_tiles)
    images = [_in_series(image, slide) for image in read_tiles(source.location, batch)]
    images = [replace(image, source_digest=batch.batch_id) for image in images]
    pictures = tuple(_ready(images, source, job, file_id=slide, is_first=batch.index == 0))
    return Readied(pictures=pictures, slide=slide, num_lost=num_tiles - len(images))


def _ready(
    images: list[Image], source: Source, job: Job, *, file_id: str = "", is_first: bool = True
) -> Iterator[Ready]:
    for number, image in enumerate(images):
        if job.reading.windowing is not None:
            image = image.windowed(job.reading.windowing)
        spare_px = job.preprocess.spare_px if job.preprocess else None
        display = image.display(min_px=spare_px and max(spare_px, 2 * THUMBNAIL_PX))
        entry = entry_from_image(
            image,
            source=source.name,
            display=display,
            record_id=source.record_id or "",
            is_first=is_first and number == 0,
            file_id=file_id,
            text=source.text,
            modality=source.modality,
            body_part=source.body_part,
            split=source.split,
            attributes=dict(source.attributes),
        ).pseudonymous(job.key)
        entry = replace(entry, **caption_columns(entry.text))
        if display.shape[:2] != image.pixels.shape[:2]:
            entry = entry.averaged(image.pixels.shape[0] // display.shape[0])
        entry = entry.with_ids(patient_id=source.patient_id, study_id=source.study_id)
        pixels = None if job.preprocess is None else job.preprocess(display)
        yield Ready(entry=entry, flags=image.flags, pixels=pixels)


def _is_known(digest: str, known: np.ndarray) -> bool:
    prefix = np.bytes_(digest[:32])
    at = int(np.searchsorted(known, prefix))
    return at < len(known) and known[at] == prefix
