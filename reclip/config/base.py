"""What every section of `params.yaml` is made of: strict models, names, seeds, no passwords."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reclip.common.passwords import holds_password

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Names of experiments, datasets, runs and tables stand in paths, commands and wildcards."""

Name = Annotated[str, Field(pattern=NAME)]


def _distinct(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("each may be given only once")
    return values


def without_password(instead: str) -> AfterValidator:
    """Settings go into git, every receipt, DVC and MLflow."""

    def check(address: str) -> str:
        if holds_password(address):
            raise ValueError(f"holds a password or key, which all would see: {instead}")
        return address

    return AfterValidator(check)


Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]


class Settings(BaseModel):
    # A value that is refused may hold a password, and an error's text goes into a log.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )
