"""Whole slides: opened by path, looked at once, and read tile by tile where there is tissue.

detect       is a file a slide or an ordinary picture
dicom_slide  an instance of DICOM whole slide microscopy, and its tiles without openslide
drawing      a picture of what was found and chosen
look         what would be read of a slide, found out in a jail
native       slides through openslide
opening      which library opens which slide, and the slides that stay open
grid         how much tissue tiles hold, and which are read
plan         the configuration and the plan of one slide
pyramid      tiled TIFF through tifffile
slide        what an open slide is
stain        Macenko and Reinhard, fitted per slide
tiling       tiles as pictures
tissue       the overview and where tissue is on it
"""

from callosum.data.slides.detect import is_slide
from callosum.data.slides.drawing import read_overview_image, slide_overview
from callosum.data.slides.opening import close_all
from callosum.data.slides.plan import SlideConfig, SlidePlan, expand, lost_flags, slide_digest
from callosum.data.slides.stain import Stain
from callosum.data.slides.tiling import TileBatch, Tiling, read_tiles

__all__ = [
    "SlideConfig",
    "SlidePlan",
    "Stain",
    "TileBatch",
    "Tiling",
    "close_all",
    "expand",
    "is_slide",
    "lost_flags",
    "read_overview_image",
    "read_tiles",
    "slide_digest",
    "slide_overview",
]
