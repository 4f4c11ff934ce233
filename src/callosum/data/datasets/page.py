"""The reference page of the datasets, made of their cards."""

from __future__ import annotations

from dataclasses import fields

from callosum.data.datasets.catalogue import DATASETS, read_card
from callosum.data.datasets.dataset import Card, Lack
from callosum.data.datasets.five_by_200 import BUILDERS, FINDINGS

_INTRO = """# Datasets

Each adapter reads a dataset as it was published, from the disk; nothing is downloaded. This page is made of the cards
in the code, which `callosum dataset show NAME` prints too. How to use them is in the
[guide](../guide/datasets.md).

A label has one of four values, which are never merged: `positive`, `negative`, `uncertain`, `unmentioned`. A concept
without any was not looked at for that picture.
"""
_TITLES = {"licence": "Licence", "patients": "Patients", "summary": "What it holds"}


def datasets_page() -> str:
    """The page as Markdown."""
    cards = [read_card(name) for name in DATASETS]
    index = ["| name | dataset | size |", "|---|---|---|"]
    index += [f"| [`{card.name}`](#{card.name}) | {card.title} | {card.size} |" for card in cards]
    lacks = ["| code | why |", "|---|---|", *(f"| `{lack}` | {lack.sentence} |" for lack in Lack)]
    parts = [
        _INTRO,
        "\n".join(index),
        "## Rows that give no example",
        "\n".join(lacks),
        *map(_section, cards),
        _built(),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _section(card: Card) -> str:
    lines = [f"## {card.name}", "", f"**{card.title}.** {card.summary}", ""]
    for field in fields(Card):
        value = getattr(card, field.name)
        if field.name in ("name", "title", "summary", "notes") or not value:
            continue
        lines.append(f"- *{_TITLES.get(field.name, field.name.capitalize())}*: {value}")
    lines += [f"- *Note*: {note}" for note in card.notes]
    return "\n".join(lines)


def _built() -> str:
    sources = [f"`{name}` from {' or '.join(f'`{each}`' for each in names)}" for name, names in BUILDERS.items()]
    return f"""## Built from them

{"; ".join(sources)}: exactly 200 frontal pictures of the training split for each of {", ".join(FINDINGS)}, positive
for that one alone: every other observation but "No Finding" is negative or unmentioned (GLoRIA, ICCV 2021; ConVIRT).
The draw follows from the seed and the names of the pictures, so that it can be repeated; the published ones cannot."""
