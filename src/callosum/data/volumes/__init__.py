"""Slices with a place in the patient: a series or a NIfTI file as one volume, and pictures cut from it.

geometry   affines, orientations, and how a stack of slices lies in space; numpy only
volume     Volume: samples `[Z, Y, X]`, affine, and slices of it as `Image`
choice     which frames make one volume: series, localisers, sizes, repeated positions
series     DICOM files of one series to a Volume
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callosum.data.poison import PoisonList
    from callosum.data.volumes.volume import Volume

TIMEOUT_S = 600.0
"""A volume is many files; each is bounded on its own."""


def read_volume(source: Path | str | Iterable[Path | str], *, jail: bool = True) -> Volume:
    """Read one volume.

    Args:
        source: A NIfTI file, a multi-frame DICOM file, a folder with the files of a DICOM series, or those files in
            any order. Folders are not walked deeper.
        jail: False decodes here, without limits; see `callosum.read`.

    Raises:
        Refused: there is no volume in it, or it is too large or damaged; code and sentence say why.
    """
    if not isinstance(source, (str, Path)):
        paths = [Path(one) for one in source]
    elif (path := Path(source)).is_dir():
        paths = sorted(one for one in path.iterdir() if one.is_file())
    else:
        paths = [path]
    if not jail:
        return _read(paths)
    from callosum.data.jail import Jail, JailConfig

    inside = Jail("callosum.data.volumes:answer_volume", config=JailConfig(timeout_s=TIMEOUT_S, cpu_s=2 * TIMEOUT_S))
    try:
        volume: Volume = inside.call([str(one.absolute()) for one in paths])
    finally:
        inside.stop()
    return volume


def answer_volume(_: None, __: PoisonList) -> Callable[[list[str]], Volume]:
    """What a `Jail` asks for a volume; see `read_volume`."""

    def answer(paths: list[str]) -> Volume:
        volume = _read([Path(path) for path in paths])
        return replace(volume, attributes=dict(volume.attributes), identifiers=dict(volume.identifiers))

    return answer


def _read(paths: list[Path]) -> Volume:
    if len(paths) == 1:
        from callosum.data.readers import nifti, read_file

        data = read_file(paths[0])
        if nifti.is_nifti(data):
            return nifti.read_volume(data)
    from callosum.data.volumes.series import read_series

    return read_series(paths)
