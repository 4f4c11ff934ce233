"""Encoders by name, able to read files: where `models` and `data` meet."""

from __future__ import annotations

from callosum.core.protocols import Encoder


def load_encoder(name: str = "starter") -> Encoder:
    """Load an installed checkpoint.

    Args:
        name: `family` or `family.tag`, as `callosum model list` shows them.

    Returns:
        An encoder whose weights, tokenizer and preprocessing equal the digests on its card.

    Raises:
        NotFound: no checkpoint has this name.
        DigestMismatch: a file of the checkpoint is not the one that its card names.
    """
    from callosum.data.readers import read
    from callosum.models.checkpoints.load import load_checkpoint

    return load_checkpoint(name, read=read)
