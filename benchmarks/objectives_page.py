"""The page of the comparison, from its JSON value alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.objectives_plot import Panel, draw
from benchmarks.objectives_reading import reading, wrapped
from benchmarks.objectives_report import BASE, BOTH, CONTROL, MAIN_FIGURE, UNPAIRED
from benchmarks.objectives_results import Results, shown, verdict

PLOT = "objectives.svg"
TABLE = (
    (MAIN_FIGURE, "zero-shot AUROC, NIH"),
    ("P@5 by class", "P@5 by class"),
    ("probe AUROC, macro", "linear probe AUROC, NIH"),
    ("accuracy, ensemble", "accuracy, ensemble"),
    ("R@10, roco_open", "R@10, ROCO"),
    ("R@10, medpix_cases", "R@10, MedPix"),
)
SHARES = (0.1, 0.3, 1.0)
DRAWN = ("clip", "siglip", "convirt", "gloria", CONTROL, "medclip", BOTH, "medclip-own")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def main_table(results: Results) -> list[str]:
    """Methods with all pairs, beside random weights and what guessing gives."""
    value = results.value
    names = [name for name in results.done if name in (*DRAWN, UNPAIRED)]
    rows = [[results.titles[name], *(shown(results.point(name, figure)) for figure, _ in TABLE)] for name in names]
    rows.append(["random weights", *(shown(results.random(figure)) for figure, _ in TABLE)])
    pixels = value["references"]["pixels"]
    rows.append(["16x16 grey pixels", *(f"{pixels[f]:.3f}" if f in pixels else "" for f, _ in TABLE)])
    rows.append(["guessing", *(f"{value['chance'][f]:.3f}" if f in value["chance"] else "" for f, _ in TABLE)])
    return table(["", *(title for _, title in TABLE)], rows)


def share_table(results: Results, figure: str) -> list[str]:
    """A figure over shares of the pairs."""
    rows = [
        [results.titles[name], *(shown(results.point(name, figure, share)) for share in SHARES)]
        for name in results.done
        if name in DRAWN
    ]
    return table(["", *(f"{share:.0%} of the pairs" for share in SHARES)], rows)


def finding_table(results: Results) -> list[str]:
    """AUROC of each finding."""
    names = [name for name in results.done if name in (*DRAWN, UNPAIRED)]
    rows = [
        [f"{finding} ({num})", *(shown(results.point(name, f"zero-shot AUROC, {finding}"), 2) for name in names)]
        for finding, num in results.value["rows"]["findings"].items()
    ]
    return table(["finding (films that have it)", *(results.titles[name] for name in names)], rows)


def cut_table(results: Results) -> list[str]:
    """Precision and recall at every cut, and accuracy with one prompt and several."""
    figures = [f"P@{k} by class" for k in (1, 2, 5, 10)]
    figures += [f"R@{k}, {pack}" for pack in ("roco_open", "medpix_cases") for k in (1, 5, 10)]
    figures += ["accuracy, one prompt", "accuracy, ensemble"]
    figures += [name for name in results.value["figures"] if name.startswith("accuracy, ") and name not in figures]
    names = [name for name in results.done if name in (*DRAWN, UNPAIRED)]
    rows = [[figure, *(shown(results.point(name, figure)) for name in names)] for figure in figures]
    return table(["", *(results.titles[name] for name in names)], rows)


def why_table(results: Results) -> list[str]:
    """What MedCLIP's targets are, and what comes of them."""
    names = [n for n in results.done if n.startswith(("unpaired-", "medclip")) or n in ("matched", "captions", BASE)]
    rows = [
        [
            results.titles[name],
            shown(results.logged(name, "target_entropy_share")),
            shown(results.point(name, MAIN_FIGURE)),
            shown(results.point(name, "P@5 by class")),
            shown(results.point(name, "R@10, roco_open")),
        ]
        for name in names
    ]
    head = ["", "entropy of the targets, share of uniform", "zero-shot AUROC", "P@5", "R@10, ROCO"]
    return table(head, rows)


def claim_table(results: Results) -> list[str]:
    """Differences of zero-shot AUROC."""
    rows = [
        [
            claim["what"],
            f"{claim['value']:+.3f} ({claim['low']:+.3f} to {claim['high']:+.3f})",
            " ".join(f"{each:+.3f}" for each in claim["seeds"]),
            verdict(claim),
        ]
        for claim in results.value["claims"]
    ]
    return table(["", "difference of zero-shot AUROC (95 %)", "seed by seed", ""], rows)


def label_table(value: dict[str, Any]) -> list[str]:
    """How far the extractor agrees with people."""
    rows = [
        [name, str(f["reports"]), *(f"{f[k]:.2f}" for k in ("precision", "recall", "f1"))]
        for name, f in value["labels"]["agreement"].items()
    ]
    return table(["finding", "reports", "precision", "recall", "F1"], rows)


def plot(results: Results) -> str:
    """The data-efficiency figure."""
    chosen = [TABLE[0], TABLE[3], TABLE[4]]
    panels = [
        Panel(
            title=title,
            lines={
                results.titles[name]: [results.point(name, figure, share) for share in SHARES]
                for name in DRAWN
                if results.runs(name)
            },
            level=results.value["chance"].get(figure),
        )
        for figure, title in chosen
    ]
    return draw(
        panels, [f"{share:.0%}" for share in SHARES], caption="Figures of objectives over shares of the training pairs"
    )


def page(value: dict[str, Any]) -> str:
    """The page."""
    results = Results(value)
    parts = [
        ["# Five objectives on the same data"],
        [
            "Written by `python -m benchmarks.objectives`; the figures are in `benchmarks/results/objectives.json`.",
        ],
        reading(results),
        ["## With all pairs"],
        ["Mean ± standard deviation over the seeds, validation rows only."],
        main_table(results),
        ["## With fewer pairs"],
        [f"![Three figures over shares of the pairs]({PLOT})"],
        ["Bars are standard deviations over seeds; dashed is guessing. Zero-shot AUROC:"],
        share_table(results, MAIN_FIGURE),
        ["Recall@10 of ROCO pairs:"],
        share_table(results, "R@10, roco_open"),
        ["## The claim, and what it rests on"],
        wrapped(ABOUT_CLAIMS),
        claim_table(results),
        ["## Targets, temperature, noise"],
        wrapped(ABOUT_TARGETS),
        why_table(results),
        wrapped(ABOUT_LABELS.format(**value["labels"])),
        label_table(value),
        ["## Every figure"],
        finding_table(results),
        cut_table(results),
        ["## How it was done"],
        how(value),
        ["## What this does not show"],
        [line for limit in LIMITS for line in wrapped(f"- {limit}")],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


ABOUT_CLAIMS = """Intervals resample the patients of the validation films, with the seeds fixed; seed by seed says what
another start changes, and three are few. "Better" is an interval above zero and every seed above zero. Wherever films
are added, zero-shot AUROC was learnt from films of the same archive."""
ABOUT_TARGETS = """All of the data; the temperature of MedCLIP's targets is 0.1 where none is named. An entropy near 1
is that of targets that say next to nothing."""
ABOUT_LABELS = """Labels of pairs are read by the extractor, which says that something is present in
{share_of_pairs:.0%} of their texts. The runs used what it read when they began; the version that wrote this page agrees
with {unchanged:.0%} of that. How far that version agrees with people, on impressions whose labels are those of the
whole report, so that what stands in the findings alone counts as missed:"""
LIMITS = (
    """Towers of a million and a half weights, a few hundred steps, small pictures: differences between objectives at
this size need not be those at the papers' size. No figure here compares with a published one.""",
    """Validation films come from the archive whose training films are added. Better zero-shot AUROC says that these
labels were learnt, not that a method reads films of another hospital.""",
    """NIH's labels were read from reports by a program, and its pneumonia films came through a third party's
selection. Findings with few validation films have wide intervals.""",
    """The temperature of MedCLIP's targets was set before the comparison (0.1); the others were then tried on the same
validation rows, so the best of them is an optimistic figure.""",
    """One learning rate for all: an objective may do better with its own.""",
)


def how(value: dict[str, Any]) -> list[str]:
    """Data, budget and scores."""
    rows, recipe = value["rows"], value["recipe"]
    gallery, minutes = rows["gallery"], sum(run["seconds"] for run in value["runs"]) / 60
    said = (
        f"""{len(value["runs"])} runs of {recipe["num_steps"]} steps with {recipe["rows"]} pictures and as many texts
each, on {recipe["size_px"]}-pixel grey squares; {minutes:.0f} minutes in all, two at a time
({value["machine"]["cpu"]}, shared with other work).""",
        """Every run of a seed begins with the same random weights and the same word pieces (learnt from all training
texts). Optimiser, rate, augmentation and average of the weights are the same for all, and none was tuned for any;
`recipes/objectives.py` has them. The last weights are scored: nothing was chosen on validation rows.""",
        f"""Pairs: {rows["pairs"]["train"]} for training ({_packs(value)}), with texts that people wrote. A tenth of the
pairs is a tenth of the patients; the smaller share is part of the larger one.""",
        f"""Films: {rows["films"]["train"]} of NIH with labels and no text. Reports: {rows["reports"]["train"]}
impressions of Indiana with the labels people gave the report, and no picture; reports coded with other findings only
are left out. No patient gives both halves. Where there are pairs too, half of every batch is pairs.""",
        """The control gives CLIP the same films with a sentence made of their labels, in half of every batch: the extra
supervision without the objective. It cannot use reports without pictures.""",
        f"""Zero-shot: cosine with a finding's phrases less that with those of a normal film; findings with at least
eight validation films. P@k: {gallery["films"]} films look among {gallery["texts"]} Indiana sentences of
{len(gallery["classes"])} findings. Accuracy: the mean over five packs of balanced accuracy by words alone. MedPix pairs
of one case count as right for each other. GLoRIA is scored by its whole-image vectors, like the others.""",
    )
    return [line for each in said for line in wrapped(f"- {each}")]


def _packs(value: dict[str, Any]) -> str:
    names = {"roco_open": "ROCO", "medpix_cases": "MedPix", "cxr_notes": "notes", "us_lung_pocus": "ultrasound"}
    return ", ".join(f"{title} {value['rows'][name]['train']}" for name, title in names.items())
