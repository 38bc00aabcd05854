"""A person's list of class names: what it may look like, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.config.classes import in_other_scripts, parse_classes, read_classes
from reclip.config.load import validate
from reclip.config.sources import FolderSource

PERSON = (("cat",), ("person", "man", "woman"), ("potted plant",))


@pytest.mark.parametrize(
    "text",
    [
        "cat, person=person|man|woman, potted plant",
        "cat,person=man|woman,potted  plant",
        "# mine\ncat\n\nperson = man | woman  # all of them\npotted plant\n",
    ],
)
def test_a_list_may_be_written_in_several_ways(text: str) -> None:
    assert parse_classes(text) == PERSON


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_may_be_a_file(tmp_path: Path, encoding: str) -> None:
    for name in ("names.txt", "names"):
        path = tmp_path / name
        path.write_text("cat\nperson=man|woman\npotted plant\n", encoding=encoding)
        assert read_classes(str(path)) == PERSON


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'the list of classes is empty: write e.g. "cat, dog'),
        ("# none\n", "is empty"),
        ("cat", "'cat' is the only class, so every pixel would get it"),
        ("cat; dog", "add the other things that the photos show, separated by ','"),
        ("cat, dog, Cat", "the class name 'Cat' is listed twice: keep it once"),
        ("person=man, guy=man", "'man' is listed twice, by 'person' and 'guy'"),
        ("cat, person=cat", "'cat' is listed twice, by 'cat' and 'person'"),
        ("cat,, dog", "a name is missing before or after a mark in '' of 'cat,, dog'"),
        ("cat, dog,", "a name is missing before or after a mark"),
        ("cat, =dog", "a name is missing before or after a mark in '=dog'"),
        ("cat, dog=", "a name is missing before or after a mark in 'dog='"),
        ("cat, dog=puppy||hound", "a name is missing before or after a mark in 'dog=puppy||hound'"),
        ("cat, dog|puppy", "'dog|puppy' is not NAME=SYNONYM|SYNONYM: start with the name to show"),
        ("cat, dog=puppy=hound", "'dog=puppy=hound' is not NAME=SYNONYM"),
        ("cat, d\x07og", "holds ',', '=', '|' or an unprintable character"),
        (", ".join(f"c{k}" for k in range(256)), "there are 256 classes, but at most 255 fit"),
    ],
)
def test_a_wrong_list_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ReclipError, match="^--classes: ") as caught:
        parse_classes(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ReclipError, match="Cannot read '.*names.txt': it is not UTF-8 text"):
        read_classes(str(tmp_path / "names.txt"))
    with pytest.raises(ReclipError, match="Cannot read '.*lost.txt': No such file"):
        read_classes(str(tmp_path / "lost.txt"))


def test_names_in_scripts_that_clip_has_not_learned() -> None:
    classes = parse_classes("cat, Hütte, naïve café, chat=猫|neko, дом, 3d printer")
    assert in_other_scripts(classes) == ["猫", "дом"]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["cat", ["person", "man"]], None),
        ([], "the list of classes is empty"),
        (["cat", "cat"], "listed twice"),
        (["cat", ["dog", ""]], "an empty name"),
        (["cat", []], "an empty name"),
        (["cat", "dog, puppy"], "holds ','"),
        (["cat", False], "valid"),  # what YAML makes of an unquoted `no`
        ("cat, dog", "valid tuple"),
    ],
)
def test_the_settings_check_the_list_too(classes: object, words: str | None) -> None:
    data = {"kind": "folder", "images": "photos", "classes": classes}
    if words is None:
        assert validate(FolderSource, data).classes == (("cat",), ("person", "man"))
        return
    with pytest.raises(ReclipError, match="params: 'classes") as caught:
        validate(FolderSource, data)
    assert words in str(caught.value)
