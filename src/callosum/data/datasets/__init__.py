"""Published datasets as they lie on the disk: one adapter a module, each opening with its card.

dataset         card, example and what an adapter is
census          what is in a dataset, counted in one pass
catalogue       every adapter by name, imported when it is opened
tables          CSV, text and JSON lines in constant memory
write           examples as a manifest that `callosum index --manifest` takes
reports         what of a report is searched
chexpert        CheXpert
chexpert_labels the fourteen observations and their four values
covid           COVID-19 Radiography Database
csv_pairs       a table of image-text pairs
five_by_200     CheXpert-5x200 and MIMIC-5x200, built from the dataset
folder_pairs    images with a text of the same name
iu              IU X-ray / Open-i, as XML and as tables
medicat         MedICaT
mimic           MIMIC-CXR-JPG and MIMIC-CXR
mimic_reports   their reports, zipped or not
nih14           NIH ChestX-ray14
own_manifest    a callosum manifest
page            the reference page, made of the cards
pmc             figure-caption JSON lines of PubMed Central
roco            ROCO and ROCOv2
rsna            RSNA Pneumonia Detection Challenge
web_dataset     WebDataset shards
"""

from callosum.data.datasets.catalogue import DATASETS, open_dataset, read_card
from callosum.data.datasets.dataset import Box, Card, Dataset, Example, Lack, Row, Skipped

__all__ = ["DATASETS", "Box", "Card", "Dataset", "Example", "Lack", "Row", "Skipped", "open_dataset", "read_card"]
