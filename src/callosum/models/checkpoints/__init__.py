"""Checkpoint folders: `config.json`, `model.safetensors`, `tokenizer.json`, and a `card.json` that names their digests.

cards         what a card says, and the check of its digests
home          where checkpoints are, and which one a name means
load          a folder as an `Encoder`
save          a trained network as a folder
starter       the model that ships with the package (data, no code)
convert       a published model as this package keeps it, in memory
install       a published model, or a pack, into the model home
stage         a folder that is there whole or not at all
weights       weights as bytes that depend on nothing but the weights
golden        what a checkpoint gave where it was written, computed again
pack          one file per checkpoint, every byte covered by a digest
export        a checkpoint in open_clip's layout
pull          a published model from the hub, when that is allowed
published     source, licence and limits of published models
fit           whether weights are those of a network, all differences in one error
names_vision  names of published image towers, to ours and back
names_text    names of published text towers, to ours and back
remap         whole published models: prefixes, projections and temperature, both ways
tensors       weights out of files that may hold code, which is never run
bert_sizes    sizes of a BERT from its tensors and settings
stock         depths of stock towers, where no setting says them
open_clip     what an open_clip_config.json says; unknown parts are refused by name
foreign       a published model's folder, zip or file: its family, sizes, weights, preprocessing and tokenizer
"""
