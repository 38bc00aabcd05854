"""The settings file's name is a word to the shell, whatever it is made of."""

from __future__ import annotations

NAME = "my settings; touch made.yaml"


def test_a_settings_file_of_any_name(checkout):
    (checkout.folder / "params.yaml").rename(checkout.folder / NAME)
    target = "results/tiny/data/voc/receipt.json"
    checkout.run("snakemake", target, "--config", f"params={NAME}")
    assert (checkout.folder / target).is_file()
    assert not (checkout.folder / "made.yaml").exists()
