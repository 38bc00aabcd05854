"""Building blocks of every section of the settings: strict models, names, seeds, no passwords."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reclip.common.passwords import holds_password

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""Names of experiments, datasets, runs and tables become parts of paths and commands."""


def _distinct(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("a value is given twice: give each once")
    return values


def without_password(instead: str) -> AfterValidator:
    """Return a validator that refuses a password. Settings go into git, receipts, DVC and MLflow.

    instead: what the user should do, for the error.
    """

    def check(address: str) -> str:
        if holds_password(address):
            raise ValueError(f"holds a password or key that others would see: {instead}")
        return address

    return AfterValidator(check)


Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]


class Settings(BaseModel):
    """A section of the settings. Unknown keys are errors."""

    # An invalid value may hold a password, and the error's text goes into a log.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )
