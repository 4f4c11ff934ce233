"""The one door: index, search, classify, embed, on one archive. Command line and servers are skins over it.

encoders    load_encoder: a checkpoint by name, able to read files
ingest      files to rows: read in worker processes, encode here, commit in batches
reading     a few files read here, one after the other
service     Service: what can be asked of an archive
worker      the reading process: a source in, a picture or an answer out
workers     the pool of reading processes: time limit, crash answer, back-pressure
"""
