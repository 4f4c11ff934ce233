"""A versioned folder of records, vectors and thumbnails, held by LanceDB.

archive     Archive: create, open, add, search, get, count
commit      what is acknowledged survives a power cut: fsync of everything a commit wrote
entry       Entry: one image on its way into the archive, with its thumbnail
schema      the columns of the tables, and attributes as columns of their own
tables      tables that may be half made, arrays, quoting
"""
