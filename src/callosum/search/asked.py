"""What a typed question asks: the words for the encoder, and the findings that hits must not have.

Encoders of this kind hardly see a "no": "effusion without pneumothorax" would find both. What is denied is taken out of
the words and becomes a condition on what the texts of pictures state.
"""

from __future__ import annotations

from dataclasses import dataclass

from callosum.knowledge.query import parse_query


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question, understood.

    Attributes:
        text: What the encoder is given.
        without: Concepts that no hit may have.
        notes: What was made of the question, where it was not taken as it is.
    """

    text: str
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def understand(text: str) -> Asked:
    """Divide a question into what is wanted and what is denied, and write out its abbreviations."""
    query = parse_query(text)
    notes = list(query.notes)
    if query.expanded.text != text:
        notes.append(f"Understood as: {query.expanded.text}")
    if not query.exclude:
        return Asked(text=query.text or text, notes=tuple(notes))
    without = tuple(dict.fromkeys(name for phrase in query.exclude for name in phrase.concepts))
    if query.text:
        notes.append(f"Looked for: {query.text}")
    else:
        notes.append("The model was given the question as it is, and such models hardly see a 'no'.")
    if without:
        notes.append(f"Left out where a text says so: {', '.join(without)}.")
    for phrase in query.exclude:
        if not phrase.concepts:
            notes.append(f"'{phrase.text}' is no finding that is known: pictures of it were not left out.")
    return Asked(text=query.text or text, without=without, notes=tuple(notes))
