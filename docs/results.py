"""MkDocs hook: figures of results/ and benchmarks/results/ join the site; links hold in both."""

from __future__ import annotations

from pathlib import Path

from mkdocs.structure.files import File

FOLDERS = {"results": "mini/figures", "benchmarks/results": "."}
"""A folder of the repository that lies beside the pages in the site, and where its figures are."""


def on_files(files, config):
    """Add the figures to the site."""
    repository = Path(config["config_file_path"]).parent
    for top, figures in FOLDERS.items():
        for path in sorted((repository / top / figures).glob("*.png")):
            name = path.relative_to(repository / top).as_posix()
            files.append(
                File(name, str(repository / top), config["site_dir"], config["use_directory_urls"])
            )
    return files


def on_page_markdown(markdown, page, config, files):
    """In the site these folders lie beside the pages."""
    for top in FOLDERS:
        markdown = markdown.replace(f"](../{top}/", "](")
    return markdown
