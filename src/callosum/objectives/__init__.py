"""What a training run minimises: embeddings and targets in, named loss terms out. No module here sees a model.

views          what an objective sees of a batch: images, texts, their keys, findings and tokens
objective      what every objective is
registry       objectives by name
pairs          own pairs, and what becomes of equal texts and equal patients
contrastive    symmetric InfoNCE (CLIP), also for a truth matrix of positives, negatives and unknown pairs
sigmoid        pairwise sigmoid (SigLIP)
convirt        InfoNCE at a fixed temperature with unequal directions (ConVIRT)
local          whole images with reports, and regions with words (GLoRIA)
soft_match     semantic matching by findings (MedCLIP)
patterns       rows that say the same told once, and the targets that follow
blockwise      log-sum-exps of all pairs without their matrix
gather         one batch from many processes, with exact gradients
cached         one batch from many chunks, with exact gradients
"""
