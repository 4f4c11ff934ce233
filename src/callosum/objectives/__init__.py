"""What a training run minimises: embeddings and targets in, named loss terms out. No module here sees a model.

contrastive    symmetric InfoNCE whose positives, negatives and unknown pairs are given as a truth matrix
"""
