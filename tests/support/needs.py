"""What some tests need and not every machine has. Without it they skip, and say what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import SHARED

VOC = SHARED / "real/VOCtrainval-subset.tar"
ADE = SHARED / "real/ADEChallengeData2016-subset.zip"

NO_VOC = f"photos of VOC are under Flickr's terms, so none is in the repository: put some at {VOC}"
NO_ADE = f"ADE20K's terms forbid to pass its photos on, so none is here: put some at {ADE}"

needs_voc = pytest.mark.skipif(not VOC.exists(), reason=NO_VOC)
needs_ade = pytest.mark.skipif(not ADE.exists(), reason=NO_ADE)

needs_dev_full = pytest.mark.skipif(
    not Path("/dev/full").exists(),
    reason="no /dev/full: Linux's device that refuses every write, as a full disk does",
)
needs_own_peak = pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="no VmHWM: Linux's record of a process's own peak; ru_maxrss counts its parent's, too",
)
