"""CPU seconds of the command line from a cold process, to its end: user and system time of the whole process tree.

Run it with `python -m benchmarks.cold [--quick] [--json]`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pydicom

from benchmarks.figures import Figure, arguments, save, show

FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def cpu_seconds(*command: object, repetitions: int) -> float:
    """Median CPU time of a command, its children included."""
    times = []
    for _ in range(repetitions):
        before = os.times()
        subprocess.run([sys.executable, "-m", "callosum", *map(str, command)], check=True, capture_output=True)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(times)


def measure(*, repetitions: int) -> list[Figure]:
    """The figures, over an archive of pydicom's own files."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        program = [sys.executable, "-m", "callosum", "index", str(archive), str(FILES)]
        done = subprocess.run(program, capture_output=True, check=False)
        assert done.returncode == 7, done.stderr.decode()
        query = FILES / "693_J2KI.dcm"
        help_s = cpu_seconds("--help", repetitions=repetitions)
        text_s = cpu_seconds("search", archive, "ultrasound of the heart", "--json", repetitions=repetitions)
        image_s = cpu_seconds("search", archive, "--image", query, "--json", repetitions=repetitions)
    return [
        Figure(name="help_cpu_s", value=help_s, target=0.2, is_at_least=False, unit="s"),
        Figure(name="search_text_cpu_s", value=text_s, target=2.5, is_at_least=False, unit="s"),
        Figure(name="search_image_cpu_s", value=image_s, target=2.5, is_at_least=False, unit="s"),
    ]


def main() -> None:
    """Measure, print, and keep the full run's figures."""
    options = arguments(__doc__).parse_args()
    figures = measure(repetitions=3 if options.quick else 9)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("cold", figures)


if __name__ == "__main__":
    main()
