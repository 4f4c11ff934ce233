"""Sizes of a Hugging Face BERT, from the shapes of its tensors and the settings beside it, where there are some."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from callosum.core.errors import InputError
from callosum.models.checkpoints.stock import BERT
from callosum.models.checkpoints.tensors import read_json
from callosum.models.layers import Activation
from callosum.models.text.bert import BertConfig
from callosum.models.text.pooling import Pool

HEAD_WIDTH = 64
"""Of every published BERT; smaller ones need settings that say how many heads there are."""
ACTIVATIONS = {"gelu": Activation.GELU, "gelu_new": Activation.GELU_TANH, "relu": Activation.RELU}


def bert_config(state: Mapping[str, Sequence[int]], *, settings: Path, context_length: int, pool: Pool) -> BertConfig:
    """Sizes of a BERT.

    Args:
        state: Shapes by Hugging Face's names, without prefix.
        settings: Its `config.json`, read when it is there.
        context_length: Longest text in word pieces.
        pool: How hidden states become features.

    Returns:
        Sizes with as many layers as the settings say, else as BERT-base and BERT-large have, else as there are.

    Raises:
        InputError: tensors of another model, settings that disagree with them or that are not computed.
    """
    words = tuple(state.get("embeddings.word_embeddings.weight", ()))
    layers = {int(found[1]) for name in state if (found := re.match(r"encoder\.layer\.(\d+)\.", name))}
    hidden = tuple(state.get("encoder.layer.0.intermediate.dense.weight", ()))
    positions = tuple(state.get("embeddings.position_embeddings.weight", ()))
    kinds = tuple(state.get("embeddings.token_type_embeddings.weight", ()))
    if not (len(words) == len(hidden) == len(positions) == len(kinds) == 2 and layers):
        message = "A text tower with the names of Hugging Face's BERT was expected; found tensors of another model."
        raise InputError(message)
    if kinds[0] == 1:
        message = "The text tower is a RoBERTa (it has one token type), which counts positions otherwise."
        raise InputError(message, hint="Known text towers: BERT and CLIP's.")
    values = read_json(settings) if settings.is_file() else {}
    for key, wanted in {"model_type": "bert", "position_embedding_type": "absolute"}.items():
        if values.get(key, wanted) != wanted:
            message = f"The text tower's {key} is {values[key]!r}; known is {wanted!r}."
            raise InputError(message)
    if (said := values.get("hidden_act", "gelu")) not in list(ACTIVATIONS):
        message = f"The text tower's hidden_act is {said!r}; known are {', '.join(ACTIVATIONS)}."
        raise InputError(message)
    stock = {"num_attention_heads": words[1] // HEAD_WIDTH, "num_hidden_layers": BERT.get(words[1], max(layers) + 1)}
    num_heads, num_blocks = (_whole(values.get(key, default), key) for key, default in stock.items())
    if type(norm_eps := values.get("layer_norm_eps", 1e-12)) is not float:
        message = f"The text tower's layer_norm_eps is a number; found {norm_eps!r}."
        raise InputError(message)
    if not num_heads or words[1] % num_heads:
        message = f"The heads of a text tower {words[1]} wide cannot be told from its weights."
        raise InputError(message, hint=f"Put its {settings.name} beside the weights.")
    return BertConfig(
        vocab_size=words[0],
        width=words[1],
        num_blocks=num_blocks,
        num_heads=num_heads,
        hidden=hidden[0],
        max_positions=positions[0],
        type_vocab=kinds[0],
        context_length=min(context_length, positions[0]),
        norm_eps=norm_eps,
        activation=ACTIVATIONS[said],
        pool=pool,
    )


def _whole(value: object, key: str) -> int:
    if type(value) is not int or value < 0:
        message = f"The text tower's {key} is a whole number; found {value!r}."
        raise InputError(message)
    return value
