"""Stage `fetch`: the data set's archive, checked, unpacked under `raw/<dataset>`."""

from __future__ import annotations

import logging
import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from reclip.data import voc
from reclip.errors import ReclipError
from reclip.files import file_sha256, write_json
from reclip.jobs import Job

log = logging.getLogger(__name__)

# What the readers of tar, gzip, bzip2, xz and zip raise on a damaged archive.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError)

MAX_UNPACKED = 100 * 2**30  # ours: more than any of the data sets by far


def main(job: Job) -> None:
    """Unpack the archive, or note where the folder is: `source.json` holds the data's root."""
    source = job.settings["source"]
    if source.folder:
        folder = Path(source.folder)
        if not folder.is_dir():
            raise ReclipError(f"params: no folder '{folder}': change the data set's source.folder")
        root = voc.find_root(folder)
    else:
        archive = Path(source.archive) if source.archive else download(job.folder.parent)
        if not archive.is_file():
            raise ReclipError(f"no archive '{archive}': change the data set's source.archive")
        if source.sha256 and file_sha256(archive) != source.sha256:
            raise ReclipError(
                f"'{archive}' has sha256 {file_sha256(archive)}, params expect {source.sha256}: "
                f"get the archive again or write its sum into the params"
            )
        unpack(archive, job.folder / "unpacked")
        root = voc.find_root(job.folder / "unpacked")
    write_json(job.folder / "source.json", {"root": str(root)})
    job.done([job.folder / "source.json"], prune=False)


def download(folder: Path) -> Path:
    """The official VOC 2012 archive, by pooch: checksum verified before the file takes its name."""
    import pooch

    try:
        return Path(
            pooch.retrieve(voc.URL, f"md5:{voc.MD5}", voc.ARCHIVE, folder, progressbar=True)
        )
    except (OSError, ValueError) as error:
        raise ReclipError(
            f"'{voc.URL}' could not be fetched ({error}): try again, or download it by other means "
            f"and name the file as source.archive"
        ) from error


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or zip archive into `target`, whole or not at all.

    Raises ReclipError: not an archive, cut short, a member that would leave the folder or is not a
    plain file, or more data than there is room for.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log.info("unpacking %s", archive)
    try:
        _unpack_into(archive, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except (tarfile.OutsideDestinationError, tarfile.AbsolutePathError) as error:
        raise ReclipError(
            f"'{archive}' holds a member that would leave its folder ({error}): do not trust it"
        ) from error
    except DAMAGED as error:
        raise ReclipError(f"'{archive}' is cut short or damaged ({error}): get it again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path) -> None:
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            members = [m for m in tar if not m.isdir()]
            _check_size(archive, sum(m.size for m in members), folder)
            for member in members:
                if not member.isfile():
                    raise ReclipError(
                        f"'{archive}' holds '{member.name}', a link or device: do not trust it"
                    )
                tar.extract(member, folder, filter="data")
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            _check_size(archive, sum(m.file_size for m in bundle.infolist()), folder)
            for member in bundle.infolist():
                if not (folder / member.filename).resolve().is_relative_to(folder.resolve()):
                    raise ReclipError(
                        f"'{archive}' holds '{member.filename}', which would leave its folder: "
                        f"do not trust it"
                    )
                bundle.extract(member, folder)
    else:
        raise ReclipError(
            f"'{archive}' is neither a tar nor a zip archive: get it again from its source"
        )


def _check_size(archive: Path, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > min(MAX_UNPACKED, free):
        raise ReclipError(
            f"'{archive}' unpacks to {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free: "
            f"free some space or check the archive"
        )
