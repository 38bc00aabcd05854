"""The parts of `benchmarks/bench.py`: stages, their plain versions, and the machine's limits."""
