"""Zero-shot classification: a label is a sentence, its score the cosine with the picture.

Source: Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021, §3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from callosum.core.embedding import Embedding, unit_rows
from callosum.core.errors import UsageError
from callosum.core.protocols import Encoder
from callosum.core.result import Prediction

TEMPLATES = ("{}", "an image of {}", "a medical image showing {}")


def label_embedding(encoder: Encoder, labels: Sequence[str], *, templates: Sequence[str] = TEMPLATES) -> Embedding:
    """One vector per label: the mean over templates of the unit vectors, scaled to norm one.

    Args:
        encoder: Turns sentences into vectors.
        labels: Words or sentences, each once.
        templates: Sentences with one `{}` where the label goes.

    Returns:
        Embedding of shape `[K, D]` whose ids are the labels.

    Raises:
        UsageError: no label, a label twice, or a template without `{}`.
    """
    if not labels or len(set(labels)) != len(labels):
        message = "Classification needs labels, each of them once."
        raise UsageError(message, hint="Give each with --label TEXT.")
    if not templates or any("{}" not in template for template in templates):
        message = "A template is a sentence with {} where the label goes."
        raise UsageError(message, hint="Example: 'a chest x-ray of {}'.")
    texts = [template.replace("{}", label) for label in labels for template in templates]
    rows_KTD = encoder.encode_text(texts).matrix.reshape(len(labels), len(templates), -1)
    return Embedding(matrix=unit_rows(rows_KTD.mean(axis=1)), space=encoder.space, ids=tuple(labels))


def zero_shot(
    encoder: Encoder,
    images: Sequence[Any],
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    sources: Sequence[str] = (),
) -> list[Prediction]:
    """Score pictures for labels.

    Args:
        encoder: The dual encoder.
        images: Whatever `encoder.encode_image` takes.
        labels: Words or sentences.
        templates: Sentences with one `{}` where the label goes; more of them make the answer steadier.
        sources: Names for the pictures, one each; the paths themselves, or row numbers, when omitted.

    Returns:
        One prediction per picture. The scores are raw cosines: not probabilities, and not a diagnosis.
    """
    label_rows = label_embedding(encoder, labels, templates=templates)
    image_rows = encoder.encode_image(images)
    scores_NK = image_rows.similarity(label_rows)
    names = list(sources) or [image if isinstance(image, str) else str(n) for n, image in enumerate(images)]
    return [
        Prediction(source=name, scores=_named(labels, row), space=str(encoder.space))
        for name, row in zip(names, scores_NK, strict=True)
    ]


def _named(labels: Sequence[str], row: np.ndarray) -> dict[str, float]:
    return {label: round(float(score), 6) for label, score in zip(labels, row, strict=True)}
