"""Figures with targets, each written by a script that runs on its own.

cold        CPU time of the command line from a cold process
figures     one figure: name, value, target, met; and how it is printed
ingest      images per second end to end over encoding alone; peak memory
starter     how good the starter model is
"""
