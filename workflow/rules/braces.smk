# Braces in the path of the project are no wildcards.
from snakemake.persistence import file as persistence


def literal(text):
    """Double the braces of a text, so that Snakemake's formatting gives it back unchanged."""
    return text.replace("{", "{{").replace("}", "}}")


# Snakemake looks for its locks by a pattern with the whole path; relative to the project it has no
# braces but those of the pattern.
if literal(os.getcwd()) != os.getcwd():
    _listfiles = persistence.listfiles
    persistence.listfiles = lambda pattern: _listfiles(os.path.relpath(pattern))
