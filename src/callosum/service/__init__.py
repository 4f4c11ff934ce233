"""The one door: index, search, classify, embed, on one archive. Command line and servers are skins over it.

encoders    load_encoder: a checkpoint by name, able to read files
extraction  free text to findings, and to the columns that an archive filters by
ingest      files to rows: read in worker processes, encode here, commit in batches
near_duplicates  files that show nearly the same, read in worker processes
outcome     what a reading process is told, and what it says about a source
prepare     one source to pictures ready for the encoder, or to an answer
report_table  reports that come as a table
reading     a few files read here, one after the other
service     Service: what can be asked of an archive
slides      what became of the batches of a slide
worker      the reading process: a source in, a picture or an answer out
workers     the pool of reading processes: time limit, crash answer, back-pressure
writer      where pictures go: encoded and written, or only sorted out for a dry run
"""
