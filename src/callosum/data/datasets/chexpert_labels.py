"""The fourteen observations of the CheXpert labeller, as CheXpert and MIMIC-CXR-JPG write them.

1 is positive, 0 negative, -1 uncertain, and an empty cell unmentioned (Irvin et al. 2019, arXiv:1901.07031).
"""

from __future__ import annotations

from collections.abc import Mapping

from callosum.core.finding import Presence

OBSERVATIONS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)

_VALUES = {
    "": Presence.UNMENTIONED,
    "1": Presence.PRESENT,
    "1.0": Presence.PRESENT,
    "0": Presence.ABSENT,
    "0.0": Presence.ABSENT,
    "-1": Presence.UNCERTAIN,
    "-1.0": Presence.UNCERTAIN,
}


def observations(row: Mapping[str, str]) -> dict[str, Presence] | None:
    """The labels of a row; None when a cell holds none of the four values. A column that is not there has none."""
    try:
        return {name: _VALUES[row[name].strip()] for name in OBSERVATIONS if name in row}
    except KeyError:
        return None
