"""Files to records: what the bytes mean physically, and a stated answer for those that cannot be indexed.

channel     values between this process and a jailed one
containers  zip and tar files met in a folder: their members become sources
datasets    published datasets and pairs of your own: one adapter a module
jail        a disposable process for code that may crash, hang or eat the machine
manifest    CSV or Parquet tables that say where images are and what is known about them
neardup     pictures that are nearly the same, by perceptual hash
plain       values as trees of plain ones: what a jailed process may send
poison      contents on which a process was lost, so that each is tried once
read        one picture from one file, decoded in a jail: `callosum.read`
readers     bytes to Image: one module per format, chosen by magic bytes
report      bytes to Report: text, Open-i XML and DICOM SR
slides      whole slides: which tiles to read, and reading them
sources     files, folders and archive members as small picklable values
split       patient-wise splits that can be repeated and checked
tar         members of .tar and .tar.gz; the latter inflated once for all processes
volumes     series of slices and NIfTI as volumes with geometry
"""
