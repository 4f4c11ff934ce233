"""Find the slices of a volume that fit a sentence, and compare three ways to one vector for the whole volume.

    python examples/volume_search.py SERIES_FOLDER "CT of the chest"

The first argument is a NIfTI file, a folder with the files of a DICOM series, or a multi-frame DICOM file. Without
arguments a head-like phantom is made. Scores are cosines: not probabilities, and not a diagnosis.
"""

from __future__ import annotations

import sys

import numpy as np

import callosum
from callosum.core.pooling import Pooling, pool
from callosum.core.record import PixelUnit
from callosum.data.volumes import read_volume
from callosum.data.volumes.volume import Plane, Volume

NUM_SLICES = 16


def phantom() -> Volume:
    """A shell of bone around soft tissue, in Hounsfield units: 24 slices of 5 mm."""
    z, y, x = np.mgrid[-12:12, -64:64, -64:64]
    radius = np.sqrt((5 * z) ** 2 + (1.1 * y) ** 2 + (1.3 * x) ** 2)
    samples = np.select([radius < 52, radius < 60], [40, 900], -1000).astype(np.int16)
    affine = np.eye(4)[:, [2, 1, 0, 3]] * [5, 1, 1, 1]  # z to the head, y to the back, x to the left
    return Volume(samples=samples, affine=affine, unit=PixelUnit.HU, attributes={"modality": "CT"})


def main(arguments: list[str]) -> None:
    """Print where the volume lies, its best slices, and its pooled scores."""
    volume = read_volume(arguments[0]) if arguments else phantom()
    sentence = arguments[1] if len(arguments) > 1 else "CT of the head"
    spacing = " x ".join(f"{step:.2f}" for step in volume.spacing_mm)
    print(f"{volume.samples.shape} samples, {volume.orientation}, {spacing} mm, acquired {volume.plane}")
    for flag in volume.flags:
        print(f"  {flag.code}: {flag.sentence}")

    encoder = callosum.load_encoder("starter")
    images = volume.slices(NUM_SLICES, plane=Plane.ACQUIRED)
    rows = encoder.encode_image(images).matrix
    query = encoder.encode_text([sentence]).matrix[0]
    scores = rows @ query

    print(f"\nslices nearest to {sentence!r}:")
    for n in np.argsort(-scores)[:3]:
        place = images[n].attributes
        print(f"  {place['plane']} {place['slice']} of {place['num_slices']}: {scores[n]:.3f}")

    print("\nthe whole volume as one vector:")
    for by in Pooling:
        print(f"  {by:9} {pool(rows, by=by, query=query) @ query:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
