"""A trained network as a checkpoint folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from callosum.models.checkpoints.cards import CONFIG, FORMAT, GOLDEN, TOKENIZER, WEIGHTS, Card, write_card
from callosum.models.checkpoints.golden import golden_bytes
from callosum.models.checkpoints.load import open_checkpoint
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.tokenizer import WordPiece


def save_checkpoint(
    folder: Path, model: DualEncoder, *, wordpiece: WordPiece, preprocess: Preprocess, card: Card
) -> None:
    """Write weights (float16; the encoder computes in float32), sizes, vocabulary, golden vectors and card."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value.detach().to(torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if value.dtype.is_floating_point
    }
    save_file(state, folder / WEIGHTS, metadata={"format": FORMAT})
    wordpiece.save(folder / TOKENIZER)
    values = {"format": FORMAT, **model.config.to_json(), "preprocess": asdict(preprocess)}
    (folder / CONFIG).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / GOLDEN).unlink(missing_ok=True)
    write_card(folder, card)
    (folder / GOLDEN).write_bytes(golden_bytes(open_checkpoint(folder)))
    write_card(folder, card)
