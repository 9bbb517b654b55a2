"""A model of the user's own: ``module:function``, called as ``function(num_classes=..., image_size=(H, W))``."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pydantic import TypeAdapter
from torch import nn

from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError
from dalcli.models.spec import ModelSpec, is_timm
from dalcli.runtime.memory import is_out_of_memory

_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def is_user_model(name: str) -> bool:
    """Whether ``name`` has the form ``module:function``."""
    return ":" in name and not is_timm(name)


def build(spec: ModelSpec, folder: Path | None = None) -> nn.Module:
    """Import the module (``folder``, the workspace, comes first on the path) and call the function.

    Raises:
        BadInputError: naming ``model.name`` and what is wrong with the module, the function or its result.
    """
    model = _call(spec, find_function(spec.name, folder))
    if not isinstance(model, nn.Module):
        raise BadInputError(
            f"model.name: {spec.name} returned {type(model).__name__}, not a torch.nn.Module",
            "The function must return the model.",
        )
    return model


def find_function(name: str, folder: Path | None = None) -> Callable[..., object]:
    """The function that ``name`` means, imported but not called.

    Raises:
        BadInputError: the form is wrong, the module cannot be imported or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), function_name]):
        raise BadInputError(f"model.name: {name!r} is not of the form module:function", "Example: my_models:small_net")
    module = _import(name, module_name, folder)
    function = getattr(module, function_name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]  # getattr is untyped
    known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    close = difflib.get_close_matches(function_name, known, n=1)
    raise BadInputError(
        f"model.name: module {module_name} has no function {function_name!r}",
        f"Did you mean {module_name}:{close[0]}?" if close else f"It must define {function_name}(num_classes, ...).",
    )


def recipe(name: str, folder: Path | None = None) -> Recipe:
    """What images are to become for a frozen network of the user's: ImageNet's usual recipe, but for what the
    function's attribute ``recipe`` says, a dictionary with some of the fields of :class:`Recipe`.

    Raises:
        BadInputError: key ``model.name``: as :func:`find_function`, or the attribute cannot be understood.
    """
    own = getattr(find_function(name, folder), "recipe", {})
    known = {field.name for field in dataclasses.fields(Recipe)}
    try:
        if unknown := sorted(own.keys() - known):
            raise ValueError(f"unknown: {', '.join(unknown)}")
        found = _RECIPE.validate_python({"image_size": (224, 224), "crop_fraction": 0.875, **own})
        if not 0 < found.crop_fraction <= 1 or min(*found.std, *found.image_size) <= 0:
            raise ValueError("crop_fraction must be above 0 and at most 1, image_size and std above 0")
        return found
    except (ValueError, AttributeError, TypeError) as error:  # pydantic's is a ValueError
        raise BadInputError(
            f"model.name: the recipe of {name} cannot be understood: {' '.join(str(error).split())}",
            f"It is a dictionary with some of {', '.join(sorted(known))}.",
        ) from error


@contextmanager
def users_code(name: str) -> Iterator[None]:
    """The user's code runs inside: what it raises is an error of its own, and no bug of ours.

    Raises:
        BadInputError: key ``model.name``: anything was raised but for want of memory.
    """
    try:
        yield
    except BadInputError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        raise user_error(name, error) from error


def user_error(name: str, error: BaseException) -> BadInputError:
    """An exception from the user's code, as one line that says where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return BadInputError(
        f"model.name: {name} failed: {type(error).__name__}: {error}{place}",
        "It is called as function(num_classes=K, image_size=(H, W)); its model maps (n, 3, H, W) to logits (n, K).",
    )


def _import(name: str, module_name: str, folder: Path | None) -> ModuleType:
    with _first_on_path(folder):
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise user_error(name, error) from error  # the module is there; something it imports is not
            raise BadInputError(
                f"model.name: no module named {module_name!r}",
                f"Put {module_name.replace('.', '/')}.py into the workspace or install it beside dalcli.",
            ) from error
        except (Exception, SystemExit) as error:
            raise user_error(name, error) from error


def _call(spec: ModelSpec, function: Callable[..., object]) -> object:
    with users_code(spec.name):
        return function(num_classes=spec.num_classes, image_size=spec.image_size)


@contextmanager
def _first_on_path(folder: Path | None) -> Iterator[None]:
    """``import`` looks into ``folder`` first, meanwhile."""
    if folder is None:
        yield
        return
    entry = str(folder)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()  # the file may be newer than the last look into the folder
    try:
        yield
    finally:
        sys.path.remove(entry)
