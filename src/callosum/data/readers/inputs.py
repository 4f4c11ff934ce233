"""The page of inputs, made of the tables that the tests check.

Run as a program, it writes the page: `python -m callosum.data.readers.inputs > docs/reference/inputs.md`.
"""

from __future__ import annotations

import sys

from callosum.data.readers.codes import DOUBTS, REASONS
from callosum.data.readers.failures import FAILURES, Failure

_BEGINNING = """# Every input and its answer

Every file ends in one of five answers, with a code for programs and a sentence for people; neither holds a path or an
identifier. This page is written by `python -m callosum.data.readers.inputs`.

| answer | meaning |
|---|---|
| `ACCEPT` | indexed |
| `ACCEPT+FLAG` | indexed, with a doubt that is kept beside the image (`flags`) |
| `METADATA_ONLY` | a sound object without a picture; its header is kept in the archive's table `refused` |
| `QUARANTINE` | an image was meant and might be mended; for a person to look at |
| `REJECT` | not an image, dangerous, or damaged beyond use |
"""

_ENDING = """## How files are read

The bytes of a DICOM file are walked before any parser sees them: where elements begin and end, how deep they are
nested, how many there are, and whether the pixels that are announced can be there. Then every format is decoded in a
process of its own, which has no network where the system allows that to be taken away, makes no core dump, and may
take 4 GiB of memory, 60 seconds by the clock and 120 of processor for one file. A file on which it is lost is answered
with `TIMEOUT` or `DECODER_CRASHED`, and its content is not tried again in the same run, nor by `--resume`. What the
process sends back is data: nothing else is built from it. `callosum doctor` says which of these limits this system
grants. `callosum.read(path, jail=False)` decodes without any of them.

## How a picture is rendered

Stored samples, then rescale or Modality LUT, then the file's first window or VOI LUT, then MONOCHROME1 inverted once
(DICOM PS3.3 C.11). Without a usable window, and for grey PNG and TIFF of 16 bits or floats, the 0.5 and 99.5
percentiles become black and white; nothing is clipped by its type. 16-bit colours of PNG and TIFF are a finished
picture and are divided by 257, unless 12 bits would hold them: then they too are shown between percentiles. A sample
that is NaN is shown as the smallest value, whether that is black or white.

RT dose and segmentations are pictures too; the latter are flagged `MASK`. EXIF orientation is applied, transparency is
laid on black (once: colours with associated alpha are on black already), CMYK and YCbCr become RGB. The one limit of
size is 2<sup>28</sup> samples in a frame. Decoders are pinned, so that the picture does not depend on what else is
installed; `render_recipe` names decoder and window of every image.

## What is taken from a header

Of DICOM's coded elements (modality, body part, view, laterality, sex) defined terms alone become attributes: anything
else that was typed there may be a name, and is dropped. Body parts are written in lower case without white space:
`C SPINE` is `cspine`.

## Which files are walked

Every file of a folder is walked, hidden ones too. Left out are the folders of version control (`.git`, `.svn`, `.hg`)
and callosum's own archives. A file name is kept as text of one line: bytes that are not UTF-8 and control characters
are written as escapes.
"""


def page() -> str:
    """The whole page, in Markdown."""
    inputs = "\n".join(_row(failure) for failure in FAILURES)
    reasons = "\n".join(f"| `{code}` | {answers} | {meaning} |" for code, (answers, meaning) in REASONS.items())
    doubts = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in DOUBTS.items())
    return "\n".join(
        [
            _BEGINNING,
            f"## Inputs\n\n| | input | answer | code | what is done |\n|---|---|---|---|---|\n{inputs}\n",
            f"## Doubts\n\n| code | meaning |\n|---|---|\n{doubts}\n",
            f"## Reasons\n\n| code | answer | meaning |\n|---|---|---|\n{reasons}\n",
            _ENDING,
        ]
    )


def _row(failure: Failure) -> str:
    answers = " or ".join(f"`{answer}`" for answer in failure.answers)
    codes = ", ".join(f"`{code}`" for code in failure.codes)
    return f"| {failure.number} | {failure.what} | {answers} | {codes} | {failure.done} |"


if __name__ == "__main__":
    sys.stdout.write(page())
