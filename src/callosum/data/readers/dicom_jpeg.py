"""12-bit and lossless JPEG for pydicom, through imagecodecs; a pydicom decoding plugin.

Pillow decodes neither, and pydicom's other plugins for them are GPL-3 or end the process on damaged data.
`imagecodecs.ljpeg_decode` is left alone for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

PLUGIN = "callosum-imagecodecs"
DECODER_DEPENDENCIES = {
    JPEGExtended12Bit: ("numpy", "imagecodecs"),
    JPEGLossless: ("numpy", "imagecodecs"),
    JPEGLosslessSV1: ("numpy", "imagecodecs"),
}


def is_available(uid: str) -> bool:
    """True for the transfer syntaxes of this plugin."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame; samples stay in the colour space of the codestream."""
    if runner.transfer_syntax == JPEGExtended12Bit:
        space = "YCBCR" if runner.samples_per_pixel == 3 else None
        pixels: np.ndarray = imagecodecs.jpeg8_decode(src, colorspace=space, outcolorspace=space)
    else:
        pixels = imagecodecs.jpegsof3_decode(src)
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    if runner.samples_per_pixel == 3:
        runner.set_option("planar_configuration", 0)
    return np.ascontiguousarray(pixels).tobytes()


def register() -> None:
    """Add the plugin to pydicom's decoders; twice is as good as once."""
    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(UID(uid))
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, "decode_frame"))
