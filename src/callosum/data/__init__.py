"""Files to records: what the bytes mean physically, and a stated answer for those that cannot be indexed.

manifest    CSV or Parquet tables that say where images are and what is known about them
readers     bytes to Image: one module per format, chosen by magic bytes
sources     files, folders and archive members as small picklable values
tar         members of .tar and .tar.gz; the latter inflated once for all processes
"""
