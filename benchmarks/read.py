"""How fast files become pictures of 224 pixels: against no jail, and against plain pydicom and Pillow.

Run it with `python -m benchmarks.read [--quick] [--json] [--data DIR]`. DIR holds the packs `dicom_zoo` and
`image_zoo`; without it the files inside the pydicom package stand for them.

- zoo: every file that gives a picture, through one jailed process and in this one, in turns; the best turn of each
  counts, as whatever else runs on the machine can only make a turn slower. It needs two cores that are free.
- films: 2500 x 3000 x 16 bit, from the bytes of the file to RGB of 224 x 224. Plainly: `pixel_array`, the window in
  float32, Pillow's bicubic. Ours: the same filter after a reduction by 2 that is made while rendering. Processor time
  in turns. For compressed films the decoder, which both share, sets a limit, given beside the ratio.
- slides: tiles per second over bare openslide (`benchmarks.slides`).
- memory: `callosum index` over 2,000 small files and over 10,000.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image as Pil
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from benchmarks import slides
from benchmarks.figures import Figure, arguments, save, show
from benchmarks.ingest import FILES, peak_mib, write_jpeg
from callosum.data.manifest import read_manifest
from callosum.data.poison import PoisonList
from callosum.data.readers import read_bytes
from callosum.data.sources import Source, iter_sources
from callosum.models.preprocess import Preprocess, Resample
from callosum.service.outcome import Job, Readied
from callosum.service.prepare import prepare
from callosum.service.workers import Workers, WorkersConfig

SIDE_PX = 224
SPARE = 4
"""The reduced film keeps at least so many times the final size."""
PREPROCESS = Preprocess(size_px=SIDE_PX, resample=Resample.BICUBIC)
JOB = Job(preprocess=PREPROCESS, known=np.empty(0, dtype="S32"), key=b"")
NUM_WARM = 8


def zoo(data: Path | None, folder: Path) -> list[Source]:
    """Files that give pictures, each as a file of its own."""
    if data is None:
        sources = list(iter_sources([FILES]))
    else:
        sources = [s for name in ("dicom_zoo", "image_zoo") for s in read_manifest(data / name / "manifest.csv")]
    files = []
    for number, source in enumerate(sources):
        outcome = prepare(source, JOB, PoisonList())
        if isinstance(outcome, Readied) and not outcome.slide:
            path = folder / f"{number:04}"
            path.write_bytes(source.read_bytes())
            files.append(Source(name=path.name, location=path))
    return files


def jailed_rate(files: list[Source]) -> float:
    """Files per second through one jailed process that is warm."""
    with Workers(JOB, WorkersConfig(num_workers=1)) as workers:
        results = workers.results([*files[:NUM_WARM], *files])
        for _ in range(NUM_WARM):
            next(results)
        start = time.perf_counter()
        count = sum(isinstance(outcome, Readied) for outcome in results)
    assert count == len(files)
    return count / (time.perf_counter() - start)


def plain_rate(files: list[Source]) -> float:
    """Files per second of the same work in this process."""
    for source in files[:NUM_WARM]:
        prepare(source, JOB, PoisonList())
    start = time.perf_counter()
    for source in files:
        prepare(source, JOB, PoisonList())
    return len(files) / (time.perf_counter() - start)


def measure_zoo(data: Path | None, *, turns: int) -> list[Figure]:
    """The jail's cost."""
    with tempfile.TemporaryDirectory() as folder:
        files = zoo(data, Path(folder))
        rates = [(jailed_rate(files), plain_rate(files)) for _ in range(turns)]
    jailed, plain = (max(column) for column in zip(*rates, strict=True))
    return [
        Figure(name="zoo/files", value=len(files)),
        Figure(name="zoo/jailed", value=jailed, unit="files/s"),
        Figure(name="zoo/in_process", value=plain, unit="files/s"),
        Figure(name="zoo/jailed_over_in_process", value=jailed / plain, target=0.9),
    ]


def film() -> Dataset:
    """2500 x 3000, 12 bits of 16, MONOCHROME1: a real slice enlarged, with the noise of a detector."""
    dataset = pydicom.dcmread(FILES / "693_J2KI.dcm")
    slice_YX = dataset.pixel_array.astype(np.float32)
    large_YX = np.asarray(Pil.fromarray(slice_YX).resize((2500, 3000), Pil.Resampling.BICUBIC))
    large_YX = (large_YX - large_YX.min()) / np.ptp(large_YX) * 3800 + np.random.default_rng(0).normal(
        0, 10, (3000, 2500)
    )
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelPaddingValue"):
        if keyword in dataset:
            del dataset[keyword]
    dataset.Modality = "DX"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    samples = large_YX.clip(0, 4095).astype(np.uint16)
    dataset.set_pixel_data(samples, "MONOCHROME1", 12, generate_instance_uid=False)
    return dataset


def films() -> dict[str, bytes]:
    """The same film with and without a window, and compressed."""
    dataset, found = film(), {}
    found["native_percentiles"] = _bytes(dataset)
    dataset.WindowCenter, dataset.WindowWidth = 2000, 3000
    found["native"] = _bytes(dataset)
    for name, syntax in (("jpegls", JPEGLSLossless), ("jpeg2000", JPEG2000Lossless)):
        copy = pydicom.dcmread(io.BytesIO(found["native"]))
        copy.compress(syntax, generate_instance_uid=False)
        found[name] = _bytes(copy)
    return found


def _bytes(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def plainly(data: bytes) -> np.ndarray:
    """What a script does: pydicom, numpy, Pillow."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    values = dataset.pixel_array.astype(np.float32)
    if "WindowWidth" in dataset:
        low, width = float(dataset.WindowCenter) - 0.5 - (float(dataset.WindowWidth) - 1) / 2, dataset.WindowWidth - 1
    else:
        low, high = np.percentile(values, (0.5, 99.5))
        width = high - low
    unit = np.clip((values - np.float32(low)) / np.float32(width), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        unit = 1 - unit
    picture = Pil.fromarray(np.round(unit * 255).astype(np.uint8))
    return np.asarray(picture.resize((SIDE_PX, SIDE_PX), Pil.Resampling.BICUBIC).convert("RGB"))


def ours(data: bytes) -> np.ndarray:
    """The same picture through the package."""
    return PREPROCESS(read_bytes(data, digest="0" * 64).display(min_px=SPARE * SIDE_PX))


def ours_in_full(data: bytes) -> np.ndarray:
    """The same without the reduction."""
    return PREPROCESS(read_bytes(data, digest="0" * 64).display())


def decoded(data: bytes) -> np.ndarray:
    """The decoder alone, on this film's pixels."""
    return pydicom.dcmread(io.BytesIO(data)).pixel_array


def seconds(routes: list[Callable[[bytes], np.ndarray]], data: bytes, *, turns: int) -> list[float]:
    """Median processor time of each route; they take turns."""
    taken: list[list[float]] = [[] for _ in routes]
    for turn in range(turns + 1):
        for route, times in zip(routes, taken, strict=True):
            start = time.process_time()
            route(data)
            if turn:  # the first is a warm-up
                times.append(time.process_time() - start)
    return [statistics.median(times) for times in taken]


def measure_films(*, turns: int) -> list[Figure]:
    """Ratios to the plain route, and how far the pictures are apart."""
    figures = []
    for name, data in films().items():
        is_native = name.startswith("native")
        plain_s, here_s, full_s, decoder_s = seconds([plainly, ours, ours_in_full, decoded], data, turns=turns)
        apart = float(np.abs(ours(data).astype(int) - plainly(data)).max())
        figures += [
            Figure(name=f"film/{name}/plain", value=1000 * plain_s, unit="CPU ms"),
            Figure(name=f"film/{name}/ours", value=1000 * here_s, unit="CPU ms"),
            Figure(name=f"film/{name}/over_plain", value=plain_s / here_s, target=3.0 if is_native else None),
            Figure(name=f"film/{name}/over_plain_unreduced", value=plain_s / full_s),
            Figure(name=f"film/{name}/difference", value=apart, target=1.0, is_at_least=False, unit="levels"),
        ]
        if not is_native:
            figures.append(Figure(name=f"film/{name}/over_plain_limit", value=plain_s / decoder_s))
    return figures


def measure_memory(*, counts: tuple[int, int]) -> list[Figure]:
    """Peak memory of indexing few files and five times as many."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            files = Path(folder) / f"files-{count}"
            files.mkdir()
            write_jpeg(files, count, side=64)
            peaks.append(peak_mib(files, Path(folder) / f"archive-{count}"))
    figures = [
        Figure(name=f"memory/peak_{count}_files", value=peak, unit="MiB")
        for count, peak in zip(counts, peaks, strict=True)
    ]
    return [*figures, Figure(name="memory/growth", value=peaks[1] / peaks[0], target=1.1, is_at_least=False)]


def main() -> None:
    """Measure, print, and keep the full run's figures."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the packs dicom_zoo and image_zoo")
    options = parser.parse_args()
    figures = measure_films(turns=5 if options.quick else 21)
    figures += measure_zoo(options.data, turns=3 if options.quick else 7)
    figures += slides.measure(quick=options.quick)
    figures += measure_memory(counts=(200, 1000) if options.quick else (2000, 10_000))
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("read", figures)


if __name__ == "__main__":
    main()
