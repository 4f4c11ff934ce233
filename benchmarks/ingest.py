"""Images per second end to end over images per second of encoding alone, and peak memory against the number of files.

Run it with `python -m benchmarks.ingest [--quick] [--json]`. End to end is `service.ingest`: walk, read, render, make
the thumbnail, encode, write, flush. Encoding alone is `encode_image` of the same encoder over decoded pictures in
memory; beside it the tower alone, over pictures that are already its input. They are measured in turn, and the median
of their ratios is given. Reading needs cores too: the limit is the ratio of a pipeline that keeps every core busy with
reading and the tower alone.
Files: CT slices of 512 x 512 x 16 bit as uncompressed DICOM, films of 320 x 320 as JPEG, tiles of 64 x 64 as JPEG;
each file is different.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image as PilImage
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import callosum
from benchmarks.figures import Figure, arguments, save, show
from callosum.archive.archive import Archive
from callosum.core.cores import num_cores
from callosum.data.sources import iter_sources
from callosum.service.ingest import IngestConfig, ingest
from callosum.service.outcome import Job
from callosum.service.prepare import prepare

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PEAK = """
import json, resource, sys
from callosum.cli.main import cli
try:
    cli(["index", sys.argv[1], sys.argv[2], "--json"], standalone_mode=False)
finally:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(json.dumps([resource.getrusage(w).ru_maxrss / 1024 for w in who]))
"""


def write_ct(folder: Path, count: int) -> None:
    """CT slices with noise of their own, uncompressed."""
    dataset = pydicom.dcmread(FILES / "693_J2KI.dcm")
    slice_YX = dataset.pixel_array.astype(np.int32)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for n in range(count):
        noise = np.random.default_rng(n).integers(-20, 20, slice_YX.shape)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(n)])
        dataset.set_pixel_data((slice_YX + noise).astype(np.int16), "MONOCHROME2", 16, generate_instance_uid=False)
        dataset.save_as(folder / f"{n:05}.dcm")


def write_jpeg(folder: Path, count: int, *, side: int) -> None:
    """Pictures with noise of their own, as JPEG."""
    base = pydicom.dcmread(FILES / "693_J2KI.dcm").pixel_array.astype(np.float32)
    picture = np.clip((base - base.min()) / np.ptp(base) * 255, 0, 255).astype(np.uint8)
    small = np.asarray(PilImage.fromarray(picture).resize((side, side))).astype(np.int16)
    for n in range(count):
        noise = np.random.default_rng(n).integers(-6, 6, small.shape)
        PilImage.fromarray(np.clip(small + noise, 0, 255).astype(np.uint8)).save(folder / f"{n:05}.jpg", quality=90)


CORPORA: dict[str, Callable[[Path, int], None]] = {
    "ct_dicom_512": write_ct,
    "film_jpeg_320": lambda folder, count: write_jpeg(folder, count, side=320),
    "tile_jpeg_64": lambda folder, count: write_jpeg(folder, count, side=64),
}


def encoding_rate(encode: Callable[[list[np.ndarray]], object], pictures: list[np.ndarray]) -> float:
    """Images per second of an encoder over pictures in memory, on every core."""
    batch = IngestConfig().batch_size
    encode(pictures[:batch])
    start = time.perf_counter()
    for n in range(0, len(pictures), batch):
        encode(pictures[n : n + batch])
    return len(pictures) / (time.perf_counter() - start)


def reading_s(files: Path) -> float:
    """CPU seconds of reading, rendering and preparing one file."""
    job = Job(preprocess=callosum.load_encoder("starter").preprocess, known=np.empty(0, dtype="S32"), key=b"")
    sources = list(iter_sources([files]))[:128]
    prepare(sources[0], job)
    start = time.process_time()
    for source in sources:
        prepare(source, job)
    return (time.process_time() - start) / len(sources)


def ingest_rate(files: Path, archive: Path) -> float:
    """Images per second from files to rows on the disk, processes warm."""
    encoder = callosum.load_encoder("starter")
    encoder.encode_pixels(np.zeros((1, *encoder.preprocess(np.zeros((8, 8), np.uint8)).shape), np.uint8))
    report = ingest(Archive.create(archive, space=encoder.space), iter_sources([files]), encoder)
    assert report.accepted + report.flagged == sum(1 for _ in files.iterdir())
    return report.images_per_s


def ratios(name: str, *, count: int, repetitions: int) -> list[Figure]:
    """The figures of one corpus."""
    encoder = callosum.load_encoder("starter")
    in_turn: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        CORPORA[name](files, count)
        some = [callosum.read(path).display() for path in sorted(files.iterdir())[:256]]
        pictures = (some * (count // len(some) + 1))[:count]
        inputs = ([encoder.preprocess(picture) for picture in some] * (count // len(some) + 1))[:count]
        read_s = reading_s(files)
        for n in range(repetitions):
            in_turn.append(
                (
                    ingest_rate(files, Path(folder) / f"archive-{n}"),
                    encoding_rate(encoder.encode_image, pictures),
                    encoding_rate(lambda some: encoder.encode_pixels(np.stack(some)), inputs),
                )
            )
    rate, alone, tower = (statistics.median(column) for column in zip(*in_turn, strict=True))
    limit = 1 / (1 + read_s * tower / num_cores())
    over_tower = statistics.median(end / bare for end, _, bare in in_turn)
    return [
        Figure(name=f"{name}/ingest", value=rate, unit="images/s"),
        Figure(name=f"{name}/encoding_alone", value=alone, unit="images/s"),
        Figure(name=f"{name}/tower_alone", value=tower, unit="images/s"),
        Figure(name=f"{name}/reading", value=1000 * read_s, unit="CPU ms"),
        Figure(name=f"{name}/ingest_over_encoding", value=statistics.median(e / a for e, a, _ in in_turn), target=0.8),
        Figure(name=f"{name}/ingest_over_tower", value=over_tower),
        Figure(name=f"{name}/ingest_over_tower_limit", value=limit),
    ]


def peak_mib(files: Path, archive: Path) -> float:
    """Peak resident memory of indexing: this process and its largest reader, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(archive), str(files)], capture_output=True, text=True, check=True
    )
    return float(sum(json.loads(done.stdout.splitlines()[-1])))


def memory(*, count: int) -> list[Figure]:
    """Peak memory over `count` files and over four times as many."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for n, times in enumerate((1, 4)):
            files = Path(folder) / f"files-{n}"
            files.mkdir()
            CORPORA["ct_dicom_512"](files, count * times)
            peaks.append(peak_mib(files, Path(folder) / f"archive-{n}"))
    return [
        Figure(name=f"peak_memory_{count}_files", value=peaks[0], unit="MiB"),
        Figure(name=f"peak_memory_{4 * count}_files", value=peaks[1], unit="MiB"),
        Figure(name="peak_memory_growth_x4_files", value=peaks[1] / peaks[0], target=1.1, is_at_least=False),
    ]


def main() -> None:
    """Measure, print, and keep the full run's figures."""
    options = arguments(__doc__).parse_args()
    count, repetitions = (256, 2) if options.quick else (1024, 5)
    figures = [f for name in CORPORA for f in ratios(name, count=count, repetitions=repetitions)]
    figures += memory(count=count)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("ingest", figures)


if __name__ == "__main__":
    main()
