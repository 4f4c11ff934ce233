"""Checkpoint folders: `config.json`, `model.safetensors`, `tokenizer.json`, and a `card.json` that names their digests.

cards      what a card says, and the check of its digests
load       a folder as an `Encoder`
save       a trained network as a folder
starter    the model that ships with the package (data, no code)
"""
