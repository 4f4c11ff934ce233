"""Reports as documents: bytes or text to a `Report` with sections, sentences and removed words.

decode         bytes to text: the order of encodings, and what is no text
vocabulary     what a heading says: phrases to kinds, in seven languages
spelling       misspelt heading words
headings       where headings are in a text
sections       headings to sections, and what is taken for findings when nothing says so
sentences      sections to sentences
placeholders   what de-identification left in place of words
language       a guess at the language
identifiers    accession, study and patient in header lines
doubts         flags of a report that was understood
parse          text, or blocks that a form states, to a report
openi          Open-i XML
sr             DICOM Structured Reports
read           bytes to a report by what is in them, and whether a text is a report at all
"""

from __future__ import annotations

from callosum.data.report.decode import decode_text
from callosum.data.report.parse import parse_report, unlinked
from callosum.data.report.read import looks_like_report, read_report

__all__ = ["decode_text", "looks_like_report", "parse_report", "read_report", "unlinked"]
