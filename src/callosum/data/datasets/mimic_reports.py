"""Reports of MIMIC-CXR: one text for each study, in a zip, in its unpacked folder, or beside the images."""

from __future__ import annotations

import zipfile
from pathlib import Path

from callosum.core.errors import InputError, Refused
from callosum.data.datasets.reports import searchable
from callosum.data.readers.refusal import guard, unreadable

MAX_REPORT_BYTES = 1 << 20
"""A longer text is no report."""

_ZIP = "mimic-cxr-reports.zip"
_FOLDERS = ("", "mimic-cxr-reports")


class Reports:
    """Looks reports up. Use as a context manager; the zip is opened only inside, and listed once.

    Raises:
        InputError: the zip is there and cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._zip: zipfile.ZipFile | None = None
        self._last = ("", ("", ""))

    def __enter__(self) -> Reports:
        path = self._root / _ZIP
        if path.is_file():
            try:
                with guard(unreadable()):
                    self._zip = zipfile.ZipFile(path)
            except Refused as refused:
                message = f"'{_ZIP}' cannot be opened as a zip."
                raise InputError(message, hint="It may be damaged or half downloaded; get it again.") from refused
        return self

    def __exit__(self, *exception: object) -> None:
        if self._zip is not None:
            self._zip.close()
            self._zip = None

    def of(self, subject: str, study: str) -> tuple[str, str]:
        """The report of a study and what of it is searched; both empty when there is none.

        Images of a study follow each other in the table, so the last report is kept.
        """
        if self._last[0] != study:
            report = self._read(f"files/p{subject[:2]}/p{subject}/s{study}.txt")
            self._last = (study, (report, searchable(report)))
        return self._last[1]

    def _read(self, name: str) -> str:
        for folder in _FOLDERS:
            try:
                with (self._root / folder / name).open("rb") as stream:
                    return _decoded(stream.read(MAX_REPORT_BYTES))
            except OSError:
                continue
        if self._zip is None:
            return ""
        try:
            with guard(unreadable()), self._zip.open(name) as stream:
                return _decoded(stream.read(MAX_REPORT_BYTES))
        except Refused:
            return ""


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
