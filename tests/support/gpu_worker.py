"""A job that keeps GPUs for some time: `python gpu_worker.py COUNT JOBS_PER_GPU SECONDS`.

It prints what it got, and then, on one line each, when it began and ended.
"""

from __future__ import annotations

import os
import sys
import time

from reclip.config.models import ComputeSettings
from reclip.device.hold import hold

count, jobs_per_gpu, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with hold(ComputeSettings(device="cuda", jobs_per_gpu=jobs_per_gpu), count) as held:
    print(",".join(held), os.environ["CUDA_VISIBLE_DEVICES"], time.time(), flush=True)
    time.sleep(seconds)
    print(time.time(), flush=True)
