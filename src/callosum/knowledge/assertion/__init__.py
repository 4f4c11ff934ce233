"""What a sentence says of a concept whose place in it is known: there, not there, perhaps, before, whose, changed.

A rule engine in the manner of NegEx (Chapman 2001) and ConText (Harkema 2009): cues of a table that can be edited
(`tables/cues.csv`), each with what it says, to which side and how far, within a grammar of clauses and lists. It knows
no concept, and of diseases only common ones that last for years and are no matter of a picture, in the rule
`chronic condition`: one that stands alone is an item of a list of past illnesses. It reads
general clinical prose as well as radiology reports.

tokens   a sentence to words and marks, without what de-identification left
cues     the table of cues, and where a sentence has them
reach    how far a cue reaches: nouns beside it, a list, a clause
assess   the cues that reach a concept to what they say together
"""

from __future__ import annotations

from callosum.knowledge.assertion.assess import ReadSentence, assess

__all__ = ["ReadSentence", "assess"]
