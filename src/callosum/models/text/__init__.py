"""Text towers.

sizes            sizes of the small tower
small            word pieces, transformer blocks, mean pooling (torch, for training)
small_numpy      the same forward in numpy, so that a text query needs no torch
"""
