"""The figures of an experiment, one a module; `style` is their common look."""
