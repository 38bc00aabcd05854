"""Compare the palettes of label maps: what programs save colour by colour has no class numbers.

A program that makes a palette PNG of a picture numbers the picture's own colours, so the same class
has another number in another map. Read as class numbers, such maps give a wrong metric silently.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

Colour = tuple[int, ...]


class LabelColours:
    """The colour of each number, and the number of each colour, as the maps so far use them.

    Numbers that no pixel has do not count, because programs fill them up as they like. 255, which
    is no class, does not count either.
    """

    def __init__(self) -> None:
        self._colours: dict[int, tuple[Colour, Path]] = {}
        self._numbers: dict[Colour, tuple[int, Path]] = {}

    def conflict(self, path: str | Path, ids: np.ndarray, palette: list[int]) -> str | None:
        """Add a map; return how it contradicts an earlier one, else None.

        One colour may stand for two numbers unless a palette gives one of them another colour.

        ids: the numbers of the pixels, uint8 (H, W).
        palette: flat RGB values, three a number.
        """
        of = {k: tuple(palette[3 * k : 3 * k + 3]) for k in range(len(palette) // 3)}
        used = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[:255]).tolist()
        for number in (number for number in used if number in of):
            colour = of[number]
            before, first = self._colours.setdefault(number, (colour, Path(path)))
            if before != colour:
                return (
                    f"number {number} is {_hex(before)} in label '{first}' and {_hex(colour)} in "
                    f"'{path}'"
                )
            other, first = self._numbers.setdefault(colour, (number, Path(path)))
            if of.get(other, colour) != colour:
                return (
                    f"the colour {_hex(colour)} is number {other} in label '{first}' and {number} "
                    f"in '{path}'"
                )
        return None


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
