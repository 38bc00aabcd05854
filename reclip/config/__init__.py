"""Settings: models of every section, the settings file, and the values of each dataset and run."""

PARAMS = "params.yaml"
"""The default settings file."""
