"""Figures with targets, each written by a script that runs on its own.

cold        CPU time of the command line from a cold process
figures     one figure: name, value, target, met; and how it is printed
ingest      images per second end to end over encoding alone; peak memory
loader      images per second of the training loader alone
read        files to pictures of 224 pixels: the jail, large films, slides, memory
report_styles  made-up reports in many styles of headings
reports     section boundaries of reports: F1, and speed
semantic    MedCLIP's loss at thousands of rows: memory and time over the naive form
slides      tiles a second over bare openslide
starter     how good the starter model is
train       seconds of a training step over the plain one
"""
