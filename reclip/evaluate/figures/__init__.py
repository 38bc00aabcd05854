"""The figures of an experiment, one a module; `style` is what they share."""
