"""Towers, tokenizers and the checkpoints that hold them.

layers         attention block shared by the towers
vision         image towers
text           text towers, in torch and in numpy
dual           the network of two towers, for training and for images
tokenizer      WordPiece
preprocess     a display picture to the square the image tower takes
area           OpenCV's area filter, which one family of published models resizes with
architectures  towers and preprocessing of methods that have no published weights, built by name
encoder        a checkpoint as an `Encoder`: texts without torch, images with it
checkpoints    the folder format, its card and its digests; the starter that ships with the package
layers_numpy   the shared layers in numpy
towers         which towers there are, and the sizes of a pair of them
compute        who computes
compute_torch  torch, or numpy for the starter
compute_openvino  OpenVINO, where it is installed
tokenizer_files  tokenizers of published models, from the files beside their weights
runtime        faster layers of equal value, chosen by a probe
empty          networks without values, to be filled with weights
"""
