"""The page gallery.html in a browser: what a person can do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclip.data.images import write_image, write_label
from reclip.inference.gallery import Shown, write_gallery
from support.browser import browser

CLASSES = ["cat", "<b>dog</b>", "sky"]
COLOURS = [(230, 40, 40), (40, 200, 40), (60, 60, 240)]
NAME = "\"><img src=x onerror=alert(1)>'&amp;</script>\u2028\U0001f600 $1"

# name: shares of cat, dog and sky in percent; entropy
PHOTOS = {
    "a10": ((60, 40, 0), 0.2),
    "a2": ((0, 20, 80), 0.9),
    "b": ((90, 0, 10), 0.1),
    NAME: ((0, 0, 100), 0.5),
}
BY_NAME = [NAME, "a2", "a10", "b"]  # numbers in names count as numbers


def made(folder: Path, names: list[str], photos: list[str]) -> Path:
    """Write a page with an entry for each of `names`, which shows the photo of its turn."""
    for number, kind in enumerate(PHOTOS):
        ids = np.repeat(np.arange(3), PHOTOS[kind][0]).astype(np.uint8)
        write_label(folder / f"{number}-mask.png", np.tile(ids, (50, 1)), 3)
        write_image(folder / f"{number}.png", np.full((50, 100, 3), 30 * number, np.uint8))
    kinds = list(PHOTOS)
    shown = [
        Shown(name, folder / f"{kinds.index(kind)}.png", folder / f"{kinds.index(kind)}-mask.png",
              PHOTOS[kind][1])
        for name, kind in zip(names, photos, strict=True)
    ]  # fmt: skip
    write_gallery(folder / "gallery.html", shown, CLASSES, COLOURS, title="Found")
    return folder / "gallery.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("four"), list(PHOTOS), list(PHOTOS))


@pytest.fixture
def view(chromium, four) -> Iterator[Any]:
    """The page of four photos, without a network. It asks for nothing and reports no error."""
    yield from viewed(chromium, four)


def viewed(chromium, file: Path, **options: Any) -> Iterator[Any]:
    context = chromium.new_context(offline=True, **options)
    asked, said = [], []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not said
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def names(view) -> list[str]:
    return view.locator("#grid .card .name").all_text_contents()


def opacity(view, mask: str) -> float:
    return float(view.locator(mask).first.evaluate("image => getComputedStyle(image).opacity"))


def test_a_class_filters_the_photos_that_show_it(view) -> None:
    legend = view.get_by_role("region", name="Classes")
    cat, dog = (legend.get_by_role("button", name=name) for name in ("cat", "<b>dog</b>"))
    cat.click()
    assert names(view) == ["a10", "b"]
    assert view.get_by_role("status").text_content() == "2 of 4 photos show “cat”"
    assert cat.get_attribute("aria-pressed") == "true"
    dog.click()
    assert names(view) == ["a2", "a10"]
    assert cat.get_attribute("aria-pressed") == "false"
    dog.click()
    assert names(view) == BY_NAME


def test_the_legend_has_each_class_s_share_of_all_photos(view) -> None:
    lines = view.locator("#legend li").all_inner_texts()
    assert [line.split("\n") for line in lines] == [
        ["sky", "47.5%"], ["cat", "37.5%"], ["<b>dog</b>", "15.0%"]
    ]  # fmt: skip


ORDERS = {
    "name": BY_NAME,
    "uncertainty": ["a2", NAME, "a10", "b"],
    "cat": ["b", "a10", NAME, "a2"],
    "sky": [NAME, "a2", "b", "a10"],
}


def test_photos_are_sorted_by_name_by_uncertainty_and_by_a_class_s_share(view) -> None:
    turn = view.get_by_role("button", name="Turn the order round")
    for order, expected in ORDERS.items():
        view.get_by_label("Sort by").select_option(label=order)
        assert names(view) == expected
        turn.click()
        assert names(view) == expected[::-1]
        turn.click()


def test_the_slider_fades_the_masks(view) -> None:
    slider = view.get_by_label("Mask", exact=True).first
    assert opacity(view, "#grid .mask") == pytest.approx(0.6)
    slider.fill("0")
    assert opacity(view, "#grid .mask") == 0
    slider.press("End")
    assert opacity(view, "#grid .mask") == 1
    view.locator(".card").first.click()
    assert opacity(view, "#stage .mask") == 1
    view.locator("#large-fade").fill("25")
    assert opacity(view, "#stage .mask") == opacity(view, "#grid .mask") == 0.25


def test_keys_lead_through_the_large_view(view) -> None:
    view.get_by_label("Sort by").select_option(label="uncertainty")
    title, large = view.locator("#large-name"), view.get_by_role("dialog")
    view.locator(".card").first.focus()
    view.keyboard.press("Enter")
    assert title.text_content() == "a2" and large.is_visible()
    assert view.locator("#place").text_content() == "1 of 4"
    view.keyboard.press("ArrowLeft")  # there is none before
    assert title.text_content() == "a2"
    view.locator("#large-fade").focus()  # a slider would take the arrows for itself
    for expected in (NAME, "a10", "b", "b"):
        view.keyboard.press("ArrowRight")
        assert title.text_content() == expected
    view.keyboard.press("ArrowLeft")
    assert title.text_content() == "a10"
    assert view.locator("#large-legend li").all_inner_texts() == ["cat\n60.0%", "<b>dog</b>\n40.0%"]
    view.keyboard.press("ArrowDown")
    assert opacity(view, "#stage .mask") == pytest.approx(0.55)
    view.keyboard.press("Escape")
    assert not large.is_visible()
    assert view.locator(":focus .name").text_content() == "a10"
    view.keyboard.press("ArrowRight")
    assert view.locator(":focus .name").text_content() == "b"


def test_a_name_with_quotes_and_angle_brackets_is_text(view) -> None:
    assert names(view)[0] == NAME
    view.locator(".card").first.click()
    assert view.locator("#large-name").text_content() == NAME
    assert view.locator("#stage .photo").get_attribute("alt") == f"Photo {NAME}"
    assert view.locator("b").count() == view.locator("img:not(.photo):not(.mask)").count() == 0


def test_the_mask_lies_on_its_photo_in_its_colours(view) -> None:
    view.locator(".card").nth(2).click()  # 60% cat, 40% dog
    photo, mask = (view.locator(f"#stage .{kind}").bounding_box() for kind in ("photo", "mask"))
    assert photo == mask
    colours = view.locator("#stage .mask").evaluate(
        """async image => {
          await image.decode();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const drawing = canvas.getContext("2d", { willReadFrequently: true });
          drawing.drawImage(image, 0, 0);
          return [59, 60].map(x => [...drawing.getImageData(x, 25, 1, 1).data]);
        }"""
    )
    assert colours == [[*COLOURS[0], 255], [*COLOURS[1], 255]]


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_nothing_is_cut_off(width: int, scheme: str, chromium, four) -> None:
    viewport = {"width": width, "height": 800}
    for view in viewed(chromium, four, viewport=viewport, color_scheme=scheme):
        assert view.evaluate("document.documentElement.scrollWidth") == width
        paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
        view.locator(".card").first.click()
        for part in ("#stage", "#large-name", "#large-fade", "#close"):
            box = view.locator(part).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= 800


def test_of_a_thousand_photos_only_those_in_view_are_decoded(chromium, tmp_path) -> None:
    numbers = [f"{number}" for number in range(1000)]
    file = made(tmp_path, numbers, [list(PHOTOS)[number % 4] for number in range(1000)])
    assert file.stat().st_size < 5e6  # these photos are small
    for view in viewed(chromium, file, viewport={"width": 1400, "height": 900}):
        first, last = view.locator("#grid .photo").first, view.locator("#grid .photo").last
        view.locator("#grid .photo[src]").first.wait_for()
        assert len(names(view)) == 1000
        assert 20 <= view.locator("#grid .photo[src]").count() <= 100
        assert last.get_attribute("src") is None
        view.locator(".card").last.scroll_into_view_if_needed()
        last.wait_for()  # until it is visible
        assert last.evaluate("image => image.decode().then(() => image.naturalWidth)") == 100
        assert first.get_attribute("src") is None
        assert view.locator("#grid .photo[src]").count() <= 100
