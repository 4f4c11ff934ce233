"""Image towers.

hybrid    residual convolutions, a coarse thumbnail token and two attention blocks
"""
