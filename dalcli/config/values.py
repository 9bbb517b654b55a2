"""What our YAML files are built from: sections that refuse what they do not know, and values as people write them."""

from __future__ import annotations

import math
from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from dalcli.config.words import parse_bytes


class Section(BaseModel):
    """A group of keys; frozen, and strict about unknown ones."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        defer_build=True,  # the whole builds its parts
    )

    @field_validator("*", mode="before")
    @classmethod
    def _yes_and_no(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads on, off, yes and no as truth values, and Python takes those for 1 and 0."""
        if not isinstance(value, bool) or info.field_name is None:
            return value
        word = "on" if value else "off"
        annotation = cls.model_fields[info.field_name].annotation
        if annotation is bool:
            return value
        if word in get_args(annotation):
            return word
        raise ValueError(f"{str(value).lower()} (or yes, no, on, off) means nothing here")


def as_pair(value: object) -> object:
    """``image_size: 32`` means 32×32; a pair is height, width."""
    pair = [value, value] if isinstance(value, int) else value
    if pair == "auto" or (isinstance(pair, list | tuple) and len(pair) == 2):
        return pair
    raise ValueError("should be auto, a number of pixels, or [height, width]")


def as_gamma(value: object) -> object:
    """Accept ``inf`` written as text, since plain YAML reads it as a string."""
    return math.inf if isinstance(value, str) and value.lower() in {"inf", ".inf", "infinity"} else value


def as_batch_size(value: object) -> object:
    """One message for everything that is neither ``auto`` nor a positive number."""
    if value == "auto" or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError("should be auto, or a number of images from 1 on")


def as_penalty(value: object) -> object:
    """One message for everything that is neither ``auto`` nor a positive number."""
    if value == "auto" or (isinstance(value, int | float) and value > 0):
        return value
    raise ValueError("should be auto, or a number larger than 0")


def as_bytes(value: object) -> object:
    """``2GiB`` is a number of bytes."""
    return parse_bytes(value) if isinstance(value, str) else value
