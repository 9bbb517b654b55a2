"""A frozen network as a value: what a workspace records about it. Never imports torch.

A *frozen network* is a pretrained network of which only the last linear layer is trained, on the features that the rest
of it gives for an image.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from dalcli.data.recipe import Recipe


@dataclass(frozen=True)
class NetworkRecord:
    """Everything that features depend on, and where they came from.

    Attributes:
        name: a torchvision classification model, ``timm:NAME`` or ``module:function``.
        weights: as they were asked for: a name or a file.
        fingerprint: 16 hexadecimal digits that change whenever features do; the network's file and its features'
            folder are named by it.
        dimension: numbers per image.
        recipe: what images become before they enter.
        marks: of ``module:function``, some features of a certain image, by which its code is known again.
    """

    name: str
    weights: str
    fingerprint: str
    dimension: int
    recipe: Recipe
    marks: tuple[float, ...] = ()


_ADAPTER: TypeAdapter[NetworkRecord] = TypeAdapter(NetworkRecord)


def to_json(record: NetworkRecord) -> str:
    """``record`` as text."""
    return _ADAPTER.dump_json(record).decode()


def from_json(text: str) -> NetworkRecord:
    """What :func:`to_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    return _ADAPTER.validate_json(text)
