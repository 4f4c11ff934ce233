"""Fast CPU paths for towers: each is tried on this machine first, and taken only where it is right and faster.

precision    the choices, and the report of what was taken and why
probe        tries every path once per process
switch       torch's settings for float32 products, for the length of a call
packed       linear, perceptron, attention and convolution with packed weights
window       Swin's attention with packed weights
bottleneck   a residual stage in one format, sums and ReLUs inside its products
first_row    the last block for the class token alone
accelerate   replaces the modules of a tower by these
bucket       batches of texts of like length or of so many tokens, equal texts once
unpadded     texts one after the other in one row, without padding
fidelity     how far a fast tower is from the slow one
outliers     the same function with the outlier channels that random weights lack
openvino     a tower converted for OpenVINO, optional
int8         8-bit weights and activations, behind the fidelity gate
"""
