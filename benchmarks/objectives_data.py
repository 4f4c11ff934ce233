"""Manifests of the comparison of objectives: pairs, films with labels, and report sentences with labels.

What each run reads is written once, so that the runs go through `callosum.train` as anybody's would:

pairs      pictures with a text that somebody wrote for them (ROCO, MedPix, clinical notes, lung ultrasound)
films      NIH films with their labels and no text
reports    Indiana impressions with the labels that people gave the report, and no picture
captions   the same films with a sentence made of their labels: the control, InfoNCE given the same films
matched    the same films with an Indiana impression of the same labels: the second control
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from callosum.core.digest import digest_bytes
from callosum.core.finding import Presence
from callosum.data.datasets.nih14 import FINDINGS as NIH
from callosum.train.sentences import text_key
from callosum.train.supply import Kind, Supply

NORMAL = "No Finding"
FINDINGS = (*NIH, NORMAL)
PAIRED = ("roco_open", "medpix_cases", "cxr_notes", "us_lung_pocus")
"""Packs of pictures whose texts were written by people; those of the others are templates."""
CAPTIONS = ("chest x-ray showing {}", "frontal film of the chest: {}", "there is {}", "chest radiograph with {}")
SIDES = ("train", "val")
QUICK_SHARE = 0.25
LABELLED = "labelled"
"""`pairs` with the findings that the extractor reads in their texts; the same patients."""
NUM_MATCHED = 4
"""Impressions that each film is given in `matched`."""

Labels = Callable[[str], Mapping[str, Presence]]
"""What a text says, concept by concept."""
Row = dict[str, str]


def pack_rows(data: Path, pack: str) -> list[Row]:
    """Rows of a pack for training and validation, with `path` as a place that any manifest may name."""
    with (data / pack / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] in SIDES]
    return [{**row, "path": f"{(data / pack).resolve()}/{row['path']}"} for row in rows]


def is_drawn(key: str, share: float) -> bool:
    """Whether a key is among a share of all keys: the same ones in every run."""
    return int(digest_bytes(key.encode())[:8], 16) < share * 2**32


def group_of(row: Row) -> str:
    """Patient, article, case or cluster of near-duplicates: whichever the pack keeps on one side."""
    return row.get("group") or row["patient_id"]


def thinned(rows: Iterable[Row], *, is_quick: bool) -> list[Row]:
    """All rows, or those of a few groups."""
    return [row for row in rows if not is_quick or is_drawn(group_of(row), QUICK_SHARE)]


def pairs(data: Path, *, is_quick: bool = False) -> list[Row]:
    """Rows of the paired packs that have a text."""
    found = []
    for pack in PAIRED:
        for row in thinned(pack_rows(data, pack), is_quick=is_quick):
            if text := " ".join(row["text"].split()):
                found.append({**_core(row, pack), "text": text, "pack": pack})
    return found


def films(data: Path, *, is_quick: bool = False) -> list[Row]:
    """NIH films with a column a finding."""
    rows = thinned(pack_rows(data, "cxr_nih14"), is_quick=is_quick)
    return [{**_core(row, "cxr_nih14"), **{name: row[name] for name in FINDINGS}} for row in rows]


def reports(data: Path, *, is_quick: bool = False) -> list[Row]:
    """Indiana reports of which people coded a finding of NIH's, or that they are normal; the impression is the text.

    Reports coded with other findings only say nothing in these labels, and are left out.
    """
    found = []
    for row in thinned(pack_rows(data, "iu_reports"), is_quick=is_quick):
        labels = {name: row[f"gold_{name}"] for name in NIH} | {NORMAL: row["gold_normal"]}
        values = {name: "1" if cell in ("1", "1.0") else "0" for name, cell in labels.items()}
        text = " ".join((row["impression"] or row["findings"]).replace("XXXX", " ").split())
        if row["has_gold"] == "True" and "1" in values.values() and any(letter.isalpha() for letter in text):
            found.append({**_core(row, "iu_reports"), "text": text, **values})
    return found


def _core(row: Row, pack: str) -> Row:
    return {"id": row["id"], "path": row["path"], "patient_id": f"{pack}:{group_of(row)}", "split": row["split"]}


def positives(row: Row) -> tuple[str, ...]:
    """Names of the findings of a row of `films` or `reports`."""
    return tuple(name for name in FINDINGS if row[name] == "1")


def spoken(names: Sequence[str]) -> str:
    """Findings as words."""
    plain = [name.replace("_", " ").lower() for name in names if name != NORMAL]
    if not plain:
        return "no finding"
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"


def captions(rows: Iterable[Row]) -> list[Row]:
    """Films with a sentence made of their labels."""
    found = []
    for row in rows:
        template = CAPTIONS[int(digest_bytes(row["id"].encode())[:8], 16) % len(CAPTIONS)]
        found.append({**_plain(row), "text": template.format(spoken(positives(row)))})
    return found


def matched(rows: Iterable[Row], texts: Iterable[Row]) -> list[Row]:
    """Films with impressions of reports with the most similar labels (Jaccard), of the training side."""
    texts = [text for text in texts if text["split"] == "train"]
    said = [frozenset(positives(text)) for text in texts]
    found = []
    for row in rows:
        shown = frozenset(positives(row))
        order = sorted(
            range(len(texts)),
            key=lambda n: (-len(shown & said[n]) / len(shown | said[n]), digest_bytes(f"{row['id']}{n}".encode())),
        )
        for place, n in enumerate(order[:NUM_MATCHED]):
            found.append({**_plain(row), "id": f"{row['id']}-{place}", "text": texts[n]["text"]})
    return found


def corrupted(rows: Sequence[Row], *, share: float) -> list[Row]:
    """Rows of which a share have the labels of some other row: what a worse labeller would give."""
    donors = sorted(rows, key=lambda row: digest_bytes(f"donor{row['id']}".encode()))
    spoilt = []
    for row, donor in zip(rows, donors, strict=True):
        source = donor if is_drawn(f"noise{row['id']}", share) else row
        spoilt.append({**row, **{name: source[name] for name in FINDINGS}})
    return spoilt


def labelled(rows: Iterable[Row], labels: Labels, concepts: Sequence[str]) -> list[Row]:
    """Pairs with a column a concept, as an extractor reads their texts."""
    found = []
    for row in rows:
        said = labels(row["text"])
        found.append({**row, **{name: str(said.get(name, Presence.UNMENTIONED)) for name in concepts}})
    return found


def _plain(row: Row) -> Row:
    return {name: row[name] for name in ("id", "path", "patient_id", "split")}


def write(path: Path, rows: Sequence[Row]) -> Path:
    """A manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.part")  # several processes may write the same
    with draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return draft.replace(path)


def read(path: Path) -> list[Row]:
    """Rows of a manifest that `write` wrote."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_all(data: Path, folder: Path, *, is_quick: bool, noise: float) -> None:
    """Every manifest that needs no extractor."""
    film_rows, report_rows = films(data, is_quick=is_quick), reports(data, is_quick=is_quick)
    write(folder / "pairs.csv", pairs(data, is_quick=is_quick))
    write(folder / "films.csv", film_rows)
    write(folder / "reports.csv", report_rows)
    write(folder / "captions.csv", captions(film_rows))
    write(folder / "matched.csv", matched(film_rows, report_rows))
    write(folder / "noisy_films.csv", corrupted(film_rows, share=noise))
    write(folder / "noisy_reports.csv", corrupted(report_rows, share=noise))


def training_texts(folder: Path) -> Iterator[str]:
    """Every text of the training side, once: what the vocabulary is learnt from."""
    seen = set()
    for name in ("pairs", "reports", "captions"):
        for row in read(folder / f"{name}.csv"):
            key = text_key(row["text"])
            if row["split"] == "train" and key not in seen:
                seen.add(key)
                yield row["text"]


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as stream:
        return next(csv.reader(stream))


def supply(folder: Path, name: str, *, share: float = 1.0, weight: float = 1.0) -> Supply:
    """What a run reads of a manifest; `share` is of the patients of pairs."""
    kind = {"films": Kind.IMAGES, "reports": Kind.TEXTS}.get(name.removeprefix("noisy_"), Kind.PAIRS)
    path = folder / f"{name}.csv"
    header = _header(path)
    columns = header[header.index("pack") + 1 :] if "pack" in header else [c for c in header if c in FINDINGS]
    return Supply(
        manifest=path,
        kind=kind,
        weight=weight,
        labels={column: column for column in columns},
        is_report=False,
        share=share,
        population="pairs" if name == LABELLED else name.removeprefix("noisy_"),
    )
