"""Measures with their uncertainty; numpy only.

bootstrap        percentile intervals, resampling rows or groups
classification   balanced accuracy, AUROC, zero-shot scores
retrieval        ranks, Recall@k, median rank, mean reciprocal rank
"""
