"""What an experiment costs before it is run, from its settings: operations, disk and hours."""
