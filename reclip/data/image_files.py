"""Tell image files from other files by name, and by their first bytes where the name says nothing.

Imports nothing heavy, because every command lists the photos.
"""

from __future__ import annotations

import os
import re
from pathlib import Path


def _suffixes(text: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in text.split())


# As Pillow registers the formats that `images` reads, and other names of JPEG in use.
READ = _suffixes("""
    jpg jpeg jpe jfif jfi jif pjpeg pjp mpo png apng tif tiff bmp dib webp gif
    ppm pgm pbm pnm pfm jp2 j2k jpc jpf jpx j2c jpg2
""")
# Pillow would read the small preview that most of these hold.
RAW = _suffixes("""
    dng cr2 cr3 crw nef nrw arw srf sr2 srw orf rw2 raf raw rwl rwz pef ptx x3f 3fr fff iiq cap
    dcr dcs drf k25 kdc mrw mef mos erf gpr bay
""")
# Other images: each is reported as left out instead of overlooked.
NOT_READ = _suffixes("""
    heic heif hif avif avifs jxl jxr wdp hdp bpg flif qoi psd psb xcf kra svg svgz eps ai
    exr hdr tga ico icns cur pcx dcm dicom fits ecw sid djvu dds sgi rgb rgba xbm xpm wmf emf
""")
# Files that often lie beside photos. They are not opened, so that listing stays fast.
OTHER = _suffixes("""
    txt md rst html htm xml xmp json jsonl geojson yaml yml toml ini cfg csv tsv xls xlsx ods
    doc docx odt pdf rtf tex py ipynb sh js log lock db sqlite npy npz mat h5 hdf5 pkl pt pth onnx
    safetensors zip tar gz bz2 xz 7z rar mp4 mov avi mkv m4v mpg mpeg webm mts 3gp mp3 wav gpx kml
    shp shx dbf prj tfw jgw pgw aux ovr las laz ply obj lnk url partial part tmp crdownload
""")

IMAGE = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|II[*+]\0|MM\0[*+]"  # TIFF, and most raw formats
    rb"|BM.{4}\0{4}"
    rb"|RIFF.{4}WEBP"
    rb"|P[1-6Ff]\s"  # PPM
    rb"|\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|.{4}ftyp(hei|hev|mif1|msf1|avi[fs]|crx )"  # HEIC, AVIF, Canon's CR3
    rb"|\xff\x0a|\0\0\0\x0cJXL "
    rb"|FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0"  # raw formats of Fuji, Olympus, Panasonic
    rb"|8BPS|\x76\x2f\x31\x01|#\?RADIANCE|qoif",
    re.DOTALL,
)


def is_image_file(path: str) -> bool:
    """Return whether a file is an image, readable or not: by its name, else by its first bytes.

    A link without a target counts, unless it has the name of another kind of file: the photo, or a
    folder of photos, may be on a disk that is not there now.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in READ or suffix in RAW or suffix in NOT_READ:
        return True
    if suffix in OTHER:
        return False
    if os.path.islink(path) and not os.path.exists(path):
        return True
    return os.path.isfile(path) and _begins_as_image(path)


def is_raw_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is named like a camera's raw file."""
    return Path(path).suffix.lower() in RAW


def _begins_as_image(path: str) -> bool:
    """Return whether a regular file has the first bytes of an image; False if it is unreadable."""
    try:
        with open(path, "rb") as stream:
            return IMAGE.match(stream.read(32)) is not None
    except OSError:
        return False
