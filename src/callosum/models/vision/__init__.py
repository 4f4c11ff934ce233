"""Image towers.

hybrid    residual convolutions, a coarse thumbnail token and two attention blocks
hybrid_numpy  the same forward in numpy, so that a query by a picture needs no torch
sizes         sizes of the hybrid tower
vit           the vision transformer of timm and of CLIP
swin          the Swin transformer
resnet        ResNet-50 and deeper
clip_resnet   CLIP's residual network
"""
