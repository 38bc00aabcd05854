"""A person's list of class names: what it may look like, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

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
        ("cat; dog", "'cat; dog' holds the mark ';': write only names"),
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
    assert words in str(caught.value) and "\n" not in caught.value.args[0]


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
        (["cat", "1"], None),
        ("cat, dog", "the classes are not a list"),
        ({0: "cat", 1: "dog"}, "the classes are not a list"),
    ],
)
def test_the_settings_check_the_list_too(classes: object, words: str | None) -> None:
    data = {"kind": "folder", "images": "photos", "classes": classes}
    if words is None:
        assert validate(FolderSource, data).classes[0] == ("cat",)
        return
    with pytest.raises(ReclipError, match="params: 'classes") as caught:
        validate(FolderSource, data)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name", ["no", "yes", "on", "off", "null", "~", "1", "1.5", "2024-01-01", "12:30:45", "{a: b}"]
)
@pytest.mark.parametrize("form", ["[cat, {}]", "[cat, [dog, {}]]"])
def test_a_name_that_yaml_reads_as_another_type_should_be_quoted(name: str, form: str) -> None:
    data = {"kind": "folder", "images": "photos", "classes": yaml.safe_load(form.format(name))}
    with pytest.raises(ReclipError, match="'classes': class 1 .*: put the name in quotes"):
        validate(FolderSource, data)


MORE = [
    "0: cat\n1: dog", "1: cat\n2: dog", "cat: 0\ndog: 1", "0,cat\n1,dog", "cat,0\ndog,1",
    "0 cat\n1 dog", "cat 0\ndog 1", "cat (0)\ndog (1)", "0. cat\n1. dog", "0) cat\n1) dog",
    "1 - cat\n2 - dog", "0;cat\n1;dog", "0\tcat\n1\tdog", "cat\t0\ndog\t1", "7 cat\n8 dog\n11 cow",
    "0=cat\n1=dog", "cat=0\ndog=1", "0\ncat\n1\ndog", "cat, dog, 3",
    "id,name\n0,cat\n1,dog", "name\ncat\ndog", "Class Name\ncat\ndog", "name,synonyms\ncat,puss",
    '["cat", "dog"]', "['cat', 'dog']", '{"0": "cat"}', "- cat\n- dog", "* cat\n* dog",
    "names:\n  0: cat\n  1: dog", "names:\n- cat", "cat: feline\ndog: canine",
    '"cat"\n"dog"', "'cat'\n'dog'", "// mine\ncat\ndog", "item {\n  name: 'cat'\n}",
    "cat 255 0 0\ndog 0 255 0", "cat,255,0,0\ndog,0,255,0", "cat:255,0,0::\ndog:0,255,0::",
    "n02119789 kit fox\nn02100735 setter",
]  # fmt: skip


@pytest.mark.parametrize("text", MORE)
def test_a_list_of_more_than_names_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text, encoding="utf-8-sig")
    with pytest.raises(ReclipError, match="^--classes: .*: write only names, in the") as caught:
        read_classes(str(tmp_path / "names.txt"))
    assert "\n" not in caught.value.args[0]


@pytest.mark.parametrize(
    "text",
    [
        "3d printer, Boeing 747, 7 eleven", "Boeing 737, Boeing 747", "formula 1, formula 2",
        "2 wheeler\n4 wheeler\n6 wheeler", "women's shoe, t-shirt, road (paved)",
        "red\ngreen\nblue", "1st prize, 2nd prize", "cat\nlabel", "дом, 猫, naïve café",
    ],
)  # fmt: skip
def test_numbers_and_marks_that_belong_to_names_pass(text: str) -> None:
    names = [name.strip() for name in text.replace("\n", ",").split(",")]
    assert parse_classes(text) == tuple((name,) for name in names)
