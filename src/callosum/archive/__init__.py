"""A versioned folder of records, vectors and thumbnails, held by LanceDB.

archive     Archive: create, open, add, attach, search, get, count
card        archive.json: format, space and secret
commit      what is acknowledged survives a power cut: fsync of everything a commit wrote
entry       Entry: one picture on its way into the archive, with its thumbnail
facets      how many pictures have each modality, body part and finding
groups      pooled vectors of files, series, studies and patients, derived from their pictures
identity    what is new, the same, or in conflict with what is there
levels      Level: what a hit stands for, and to which group a picture belongs
refusals    files that were not indexed, and what their headers told
reports     reports with their versions, joined to the pictures of their study, whichever comes first
schema      the columns of the table of images, and attributes as columns of their own
store       Store: folder, card, lock and tables
tables      tables that may be half made, arrays, filters, quoting
"""
