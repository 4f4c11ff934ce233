"""Every input and its answer, one row each; `inputs` makes the page of it, and the tests make the bytes.

The rows are the failures that real archives and networks deliver, in the order in which they were collected.
"""

from __future__ import annotations

from dataclasses import dataclass

from callosum.core.record import Answer

_ACCEPT, _FLAG, _METADATA = Answer.ACCEPT, Answer.FLAG, Answer.METADATA_ONLY
_QUARANTINE, _REJECT = Answer.QUARANTINE, Answer.REJECT


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One kind of input.

    Attributes:
        number: Its place in the catalogue.
        what: The input, in words.
        answers: What it can end in, the usual first.
        codes: Reasons or doubts that go with them.
        done: What is done, and what is never done.
    """

    number: int
    what: str
    answers: tuple[Answer, ...]
    codes: tuple[str, ...]
    done: str


def _row(number: int, what: str, answers: tuple[Answer, ...], codes: str, done: str) -> Failure:
    return Failure(number=number, what=what, answers=answers, codes=tuple(codes.split()), done=done)


FAILURES = (
    _row(1, "a file without a byte", (_REJECT,), "EMPTY", "nothing"),
    _row(
        2,
        "a web page or text under the name of a picture",
        (_REJECT,),
        "NOT_AN_IMAGE NOT_A_REPORT",
        "names decide nothing; bytes are never forced to be DICOM; a text that is a report is read as one",
    ),
    _row(
        3,
        "DICOM cut inside its header",
        (_QUARANTINE,),
        "TRUNCATED_HEADER",
        "the last element must end where the file ends",
    ),
    _row(4, "DICOM cut inside its pixels", (_QUARANTINE,), "TRUNCATED", "missing pixels are never made up"),
    _row(
        5,
        "DICOM without preamble or magic",
        (_FLAG,),
        "NO_PREAMBLE",
        "the first elements must be those of a data set beyond reasonable doubt",
    ),
    _row(
        6,
        "DICOM without group 0002",
        (_FLAG, _QUARANTINE),
        "NO_META",
        "native pixels are read when their length fits; compressed ones cannot be",
    ),
    _row(7, "group 0002 without a transfer syntax", (_FLAG, _QUARANTINE), "NO_META", "as above"),
    _row(
        8, "a transfer syntax that is private, unknown or a film", (_METADATA,), "TS_UNSUPPORTED", "the header is kept"
    ),
    _row(
        9,
        "a deflated data set that inflates without end",
        (_REJECT,),
        "DECOMPRESSION_LIMIT",
        "inflation stops at 64 MiB, or at 32 times the size of the file, before anything is parsed",
    ),
    _row(
        10,
        "thousands of sequences inside each other",
        (_REJECT,),
        "NESTING_LIMIT",
        "the walk before parsing does not call itself, and stops at 64",
    ),
    _row(11, "an element longer than the file", (_REJECT,), "LENGTH_OVERRUN", "found before parsing"),
    _row(12, "an image object without pixels", (_METADATA,), "NO_PIXELS", "the header is kept"),
    _row(
        13,
        "DICOM that is no picture: reports, plans, waveforms, presentation states, DICOMDIR",
        (_METADATA,),
        "NOT_AN_IMAGE_OBJECT DICOM_DIRECTORY",
        "the header is kept; structured reports that name their study are read as reports; a DICOMDIR is counted and "
        "never followed",
    ),
    _row(
        14,
        "fewer Bits Stored than samples use",
        (_FLAG,),
        "BITS_INCONSISTENT",
        "all bits are kept when the picture is sounder with them",
    ),
    _row(15, "more Bits Stored than allocated", (_REJECT,), "BITS_INVALID", "nothing is guessed"),
    _row(
        16,
        "High Bit that is not Bits Stored - 1",
        (_FLAG,),
        "HIGH_BIT_INCONSISTENT",
        "samples are moved down where they lie below it; else it is ignored",
    ),
    _row(17, "CT that says unsigned and looks signed", (_FLAG,), "SIGN_SUSPECT", "values are kept as stated"),
    _row(18, "Rows or Columns of zero", (_REJECT,), "DIM_ZERO", "found before parsing"),
    _row(
        19,
        "a header that announces more pixels than there are",
        (_REJECT,),
        "DIM_MISMATCH",
        "arithmetic of the header, before anything is allocated",
    ),
    _row(
        20,
        "a million frames, or less than none",
        (_REJECT,),
        "DIM_MISMATCH",
        "as above; compressed frames are counted by their pieces",
    ),
    _row(
        21,
        "a codestream of another size than the header, or of millions of tiles",
        (_QUARANTINE,),
        "CODESTREAM_INVALID",
        "its own header is read before a decoder sees it; decoders print to nowhere",
    ),
    _row(22, "CT without rescale values", (_FLAG,), "NO_HU", "shown between percentiles; not in Hounsfield units"),
    _row(23, "Rescale Slope 0", (_FLAG,), "SLOPE_ZERO", "the slope is ignored"),
    _row(
        24,
        "a window of no width, empty, or of an unknown function",
        (_FLAG,),
        "WINDOW_INVALID",
        "shown between percentiles",
    ),
    _row(25, "MONOCHROME1, with or without an inverse presentation", (_ACCEPT,), "", "inverted exactly once"),
    _row(
        26,
        "a film that was inverted before it was stored",
        (_ACCEPT, _FLAG),
        "POLARITY_SUSPECT",
        "shown as it is; of frontal chest films the picture tells, and a flag says so",
    ),
    _row(27, "palette colours without the palette", (_QUARANTINE,), "PALETTE_MISSING", "indices are not a picture"),
    _row(
        28,
        "a colour model that contradicts the samples",
        (_REJECT,),
        "PHOTOMETRIC_INVALID",
        "YBR becomes RGB where it is valid",
    ),
    _row(
        29,
        "many frames, or a volume over time",
        (_FLAG,),
        "MULTI_FRAME",
        "frames are decoded one by one: the centres of as many equal parts as are asked for",
    ),
    _row(30, "big-endian DICOM", (_ACCEPT,), "", "read as it is"),
    _row(
        31,
        "an instance that is there already, byte for byte",
        (_ACCEPT,),
        "DUPLICATE_CONTENT",
        "counted as unchanged; nothing is written",
    ),
    _row(
        32,
        "an instance UID that is there with another picture",
        (_QUARANTINE,),
        "UID_CONFLICT",
        "the first one stays; neither is overwritten",
    ),
    _row(
        33,
        "a series in two studies, or two patients in one study",
        (_QUARANTINE,),
        "HIERARCHY_CONFLICT",
        "the first one is believed",
    ),
    _row(
        34,
        "a UID that is missing or none",
        (_FLAG,),
        "UID_INVALID",
        "a file on a disk keeps its picture; nothing is grouped by such a UID",
    ),
    _row(35, "an unknown character set", (_FLAG,), "CHARSET_UNKNOWN", "free text and names are not kept in any case"),
    _row(
        36,
        "names and control characters in paths and values",
        (_ACCEPT,),
        "",
        "no path, name or value of a header in any sentence or log; a file name is kept as text of one line",
    ),
    _row(
        37,
        "a write that fails midway",
        (_ACCEPT,),
        "",
        "archives and models are written to a temporary name, synced and renamed",
    ),
    _row(
        38,
        "zip, tar and other archives among the files",
        (_ACCEPT, _REJECT),
        "ARCHIVE_UNSAFE ARCHIVE_UNSUPPORTED",
        "members of zip and plain tar are read in place; one that grows too much, or whose names lead outside, is not "
        "opened; archives inside archives are not walked",
    ),
    _row(
        39,
        "a picture that announces too many pixels",
        (_REJECT,),
        "TOO_MANY_PIXELS",
        "one limit for every format, asked before decoding",
    ),
    _row(40, "printing colours", (_FLAG,), "CMYK", "converted without a profile"),
    _row(41, "PNG of 16 bits", (_ACCEPT,), "", "raw grey, shown between percentiles; never clipped"),
    _row(42, "TIFF of floats", (_ACCEPT,), "", "as above"),
    _row(43, "animations and TIFF of several pages", (_FLAG,), "MULTI_FRAME", "as frames"),
    _row(44, "a picture cut short", (_REJECT,), "TRUNCATED", "the rest is never made up"),
    _row(
        45,
        "EXIF orientation, and pictures with transparency",
        (_ACCEPT,),
        "",
        "turned upright; laid on black, so that what was hidden stays hidden",
    ),
    _row(
        46,
        "a volume with NaN or infinity",
        (_FLAG, _QUARANTINE),
        "NON_FINITE",
        "shown as the smallest number; above one in twenty the file is kept aside",
    ),
    _row(
        47,
        "NIfTI over time, without an orientation, or with two that disagree",
        (_FLAG,),
        "MULTI_VOLUME NO_ORIENTATION",
        "the first volume; sides are not told where they are not known",
    ),
    _row(
        48,
        "NIfTI that announces more than it holds, or inflates without end",
        (_REJECT,),
        "DIM_MISMATCH DECOMPRESSION_LIMIT",
        "arithmetic of the header before inflation, a limit during it",
    ),
    _row(49, "compressed NIfTI cut short", (_REJECT,), "TRUNCATED", "the rest is never made up"),
    _row(
        50,
        "a slide with damaged tiles",
        (_FLAG,),
        "TILES_LOST",
        "a tile costs itself; the slide is opened again; above a fifth the flag says so",
    ),
    _row(
        51,
        "a slide that is cut, lacks levels or its scale; label and macro pictures",
        (_QUARANTINE, _METADATA, _FLAG),
        "CORRUPT CODESTREAM_INVALID LABEL_IMAGE NO_MPP",
        "label and macro pictures show names: they are never indexed",
    ),
    _row(
        52,
        "a slide of ten thousand million pixels",
        (_FLAG,),
        "TILE_BUDGET",
        "an overview first, then tiles where there is tissue, up to a budget; what is done is not done again",
    ),
    _row(
        53,
        "a PACS that answers with a page, slowly, or half",
        (),
        "",
        "no network is read yet: the answer comes with the connectors",
    ),
    _row(
        54,
        "a report without an image, an image without a report, one that comes later or again",
        (_ACCEPT,),
        "REPORT_UNLINKED",
        "joined by study UID or accession number whenever the other comes; each version is kept",
    ),
    _row(
        55,
        "a report in another language, of a template, with an empty impression",
        (_FLAG,),
        "LANGUAGE TEMPLATE IMPRESSION_EMPTY",
        "kept and searched as it is",
    ),
)
"""The catalogue."""
