"""One module per verb; each holds a click command named `command`.

classify    scores of pictures for labels that are only words
dataset     published datasets: list, show, check
dataset_write  manifest, split, verify and build of `callosum dataset`
demo        a tour over real DICOM files
doctor      what this installation can do
embed       pictures or texts to vectors
extract     what reports say, with the words that say it
facets      what an archive holds, counted
index       files into an archive
model       the installed checkpoints
model_move  import, pull, pack and export of `callosum model`
prompts     sentences for a class, and what may be misread in one
search      an archive by words, by a picture or by a record
show        one record of an archive
slide       what indexing would take of a whole slide
train       a recipe and manifests to a checkpoint
"""
