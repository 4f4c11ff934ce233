"""Text towers.

sizes            sizes of the small tower
small            word pieces, transformer blocks, mean pooling (torch, for training)
small_numpy      the same forward in numpy, so that a text query needs no torch
bert             BERT: the text side of BiomedCLIP, MedCLIP and GLoRIA
clip_text        the causal text tower of CLIP
pooling          from hidden states to one vector per text, and to the shared space
"""
