"""The end of a run: the checkpoint folder and its card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callosum.models.checkpoints.cards import CARD, EXTRAS, FILES, LICENCES, Card, read_card
from callosum.models.checkpoints.save import save_checkpoint
from callosum.models.dual import DualEncoder
from callosum.train.disk import writing
from callosum.train.recipe import RunConfig
from callosum.train.start import Start

USE = "Research and teaching: search by words, zero-shot scores, features for further work."
NOT_FOR = (
    "Diagnosis, triage, screening or any decision about a patient; it is not a medical device. Its figures are of "
    "validation rows that resemble its training rows: measure it on your own before you rely on it."
)


def write_checkpoint(out: Path, network: DualEncoder, start: Start, card: Card) -> dict[str, str]:
    """Write the checkpoint into `out`, its card last: until that is there, and names every file, there is none.

    Returns:
        The digests of its files.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    with writing("The checkpoint"), tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=out) as hidden:
        draft = Path(hidden)
        if start.licences:
            (draft / LICENCES).write_text(start.licences, encoding="utf-8")
        save_checkpoint(draft, network, wordpiece=start.tokenizer, preprocess=start.preprocess, card=card)
        (out / CARD).unlink(missing_ok=True)
        for name in (*FILES, *EXTRAS):
            if (draft / name).is_file():
                shutil.move(draft / name, out / name)
        shutil.move(draft / CARD, out / CARD)
    return dict(read_card(out).digests)


def card_of(
    config: RunConfig, start: Start, *, data: Mapping[str, Any], figures: Mapping[str, Any], steps: int
) -> Card:
    """The card of a trained checkpoint.

    Args:
        config: The run.
        start: Where it began.
        data: Summary of the training material.
        figures: Measured on rows of validation, and on what was to be retained.
        steps: Steps that were done.
    """
    began = f"trained on from {start.origin}" if start.origin else "trained from random weights"
    licence = f"that of {start.origin}: {start.licence}" if start.origin else "set by whoever trained it"
    supplies = [
        {"pack": supply["manifest"][:12], "kind": supply["kind"], "labels": supply["labels"]}
        for supply in data["supplies"]
    ]
    counts = {name: data[name] for name in ("num_pictures", "num_texts", "num_pairs", "num_patients")}
    return Card(
        name=config.name,
        summary=config.summary or f"A model {began} with the objective {config.objective}.",
        intended_use=USE,
        not_for=NOT_FOR,
        licence=f"Of the weights: {licence}. The terms of the training data hold besides.",
        data=[{"digest": data["digest"], **counts, "supplies": supplies}],
        hyper_parameters={**config.to_json(), "steps_done": steps},
        quality=[{"what": name, "value": value} for name, value in figures.items()],
        source=f"callosum train: {config.objective}, {began}",
        context_length=start.network.config.text.context_length,
    )
