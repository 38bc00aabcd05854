"""MkDocs hook: the figures of results/ join the site; links hold in the repository as well."""

from __future__ import annotations

from pathlib import Path

from mkdocs.structure.files import File

FOLDER = "mini/figures"


def on_files(files, config):
    """Add the figures to the site."""
    results = Path(config["config_file_path"]).parent / "results"
    for path in sorted((results / FOLDER).glob("*.png")):
        name = path.relative_to(results).as_posix()
        files.append(File(name, str(results), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown, page, config, files):
    """In the site results/ lies beside the pages."""
    return markdown.replace("](../results/", "](")
