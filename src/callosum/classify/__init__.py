"""From embeddings to labels.

zero_shot   scores of pictures for labels that are only words
"""
