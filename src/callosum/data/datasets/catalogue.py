"""Every adapter by name; its module is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from callosum.core.errors import NotFound
from callosum.data.datasets.dataset import Card, Dataset

DATASETS = {
    "chexpert": "chexpert:CheXpert",
    "covid-radiography": "covid:CovidRadiography",
    "csv-pairs": "csv_pairs:CsvPairs",
    "folder-pairs": "folder_pairs:FolderPairs",
    "iu-xray": "iu:IuXray",
    "manifest": "own_manifest:Manifest",
    "medicat": "medicat:Medicat",
    "mimic-cxr": "mimic:MimicCxr",
    "mimic-cxr-jpg": "mimic:MimicCxrJpg",
    "nih-chestxray14": "nih14:NihChestXray14",
    "pmc-jsonl": "pmc:PmcJsonl",
    "roco": "roco:Roco",
    "roco-v2": "roco:RocoV2",
    "rsna-pneumonia": "rsna:RsnaPneumonia",
    "webdataset": "web_dataset:WebDataset",
}
"""Name to the module of this package and the class in it."""


def open_dataset(name: str, root: str | Path) -> Dataset:
    """The dataset of a name, at ROOT; no table is read yet.

    Raises:
        NotFound: there is no adapter of that name.
        InputError: ROOT has not the files of the layout; the message names what was expected.
    """
    return _adapter(name)(root)


def read_card(name: str) -> Card:
    """The card of a dataset.

    Raises:
        NotFound: there is no adapter of that name.
    """
    return _adapter(name).card


def _adapter(name: str) -> type[Dataset]:
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        message = "There is no adapter for a dataset of that name."
        raise NotFound(message, hint=f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(DATASETS)}.")
    module, _, class_name = DATASETS[name].partition(":")
    adapter = getattr(importlib.import_module(f"callosum.data.datasets.{module}"), class_name)
    assert issubclass(adapter, Dataset)
    return adapter
