"""What a job needs: amounts of memory, and what it then asks a scheduler for."""

from __future__ import annotations

from typing import NamedTuple

# Of a process that starts CUDA, on the host and on the GPU; assumed, nothing was measured.
CUDA_HOST, CUDA_DEVICE = 2.5e9, 1.0e9


class Need(NamedTuple):
    """Bytes that a job holds at its peak.

    Attributes:
        libraries: of the process, before it does anything.
        host: data that stay in the CPU's memory on any device.
        loading: weights from a file, before anything is computed.
        computing: weights and tensors on the device that computes.
    """

    libraries: float
    host: float = 0.0
    loading: float = 0.0
    computing: float = 0.0

    @property
    def on_cpu(self) -> float:
        """Bytes of a job that computes on the CPU."""
        return self.libraries + self.host + max(self.loading, self.computing)

    @property
    def beside_gpu(self) -> float:
        """Bytes on the host of a job that computes on a GPU."""
        return self.libraries + CUDA_HOST + self.host + self.loading

    @property
    def on_gpu(self) -> float:
        """Bytes on the GPU."""
        return CUDA_DEVICE + self.computing
