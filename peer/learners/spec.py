"""From what a configuration says to a model or a learner; users bring their own by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...crypto.errors import ConfigError, TidingsError
from .base import Learner, Model
from .data import Dataset
from .softmax import SoftmaxLearner, SoftmaxModel

if TYPE_CHECKING:
    from types import ModuleType

NPZ = "tidings.peer.learners.data:npz"


class LearnerConfig(BaseModel):
    """What a peer trains, and on which records.

    Names have the form ``package.module:object``. ``module`` names a class or function that
    makes an ``nn.Module`` from ``module_args``; ``loss`` a function of (output, target), or a
    class that ``loss_args`` make one from; ``dataset`` a function that gives a ``Dataset`` or
    (train_x, train_y, test_x, test_y) from ``dataset_args``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["torch", "softmax"] = "torch"
    module: str | None = None
    module_args: dict[str, Any] = {}
    loss: str = "torch.nn:CrossEntropyLoss"
    loss_args: dict[str, Any] = {}
    dataset: str = NPZ
    dataset_args: dict[str, Any] = {}
    features: int | None = Field(default=None, ge=1, description="of softmax")
    classes: int | None = Field(default=None, ge=2, description="of softmax")

    @model_validator(mode="after")
    def _consistent(self) -> LearnerConfig:
        if self.kind == "torch" and self.module is None:
            raise ValueError(
                "learner kind 'torch' needs a module, such as module = \"my_models:Net\""
            )
        if self.kind == "torch" and (self.features or self.classes):
            raise ValueError("'features' and 'classes' belong to learner kind 'softmax'")
        if self.kind == "softmax" and (self.features is None or self.classes is None):
            raise ValueError("learner kind 'softmax' needs 'features' and 'classes'")
        if self.kind == "softmax" and (self.module or self.module_args):
            raise ValueError("learner kind 'softmax' has no module; remove it")
        return self


def build_model(config: LearnerConfig) -> Model:
    """The model alone, without data. Raises ConfigError."""
    if config.kind == "softmax":
        assert config.features is not None and config.classes is not None  # noqa: PT018
        return SoftmaxModel(features=config.features, classes=config.classes)
    assert config.module is not None
    try:
        from .torch_adapter import TorchModel
    except ImportError as error:
        raise _no_torch() from error
    factory = _callable(config.module, "learner.module")
    _check_arguments(factory, config.module_args, where=config.module)
    return TorchModel(factory, config.module_args, name=config.module)


def build_learner(
    config: LearnerConfig, *, folder: Path | None = None, dataset: Dataset | None = None
) -> Learner:
    """The model with its data. Raises ConfigError.

    ``dataset`` stands in for what the configuration names (the simulator has it in memory).
    A relative ``dataset_args.path`` is taken to start from ``folder``, so that a peer's folder
    can be moved.
    """
    records = load_dataset(config, folder=folder) if dataset is None else dataset
    if config.kind == "softmax":
        assert config.features is not None and config.classes is not None  # noqa: PT018
        return SoftmaxLearner(records, features=config.features, classes=config.classes)
    assert config.module is not None
    try:
        from .torch_adapter import TorchLearner
    except ImportError as error:
        raise _no_torch() from error
    factory = _callable(config.module, "learner.module")
    _check_arguments(factory, config.module_args, where=config.module)
    loss = _callable(config.loss, "learner.loss")
    if inspect.isclass(loss):
        loss = _made(loss, config.loss_args, where=config.loss)
    elif config.loss_args:
        raise ConfigError(
            "loss_args are for a class; this is a function", where=config.loss, fix="remove them"
        )
    return TorchLearner(factory, config.module_args, loss, records, name=config.module)


def load_dataset(config: LearnerConfig, *, folder: Path | None = None) -> Dataset:
    """The data set that the configuration names. Raises ConfigError."""
    return load_named_dataset(
        config.dataset, config.dataset_args, folder=folder, where="learner.dataset"
    )


def load_named_dataset(
    name: str,
    arguments: Mapping[str, Any],
    *,
    folder: Path | None = None,
    seed: int | None = None,
    where: str = "dataset",
) -> Dataset:
    """The data set that the function ``name`` gives from ``arguments``. Raises ConfigError.

    ``seed`` is handed to a function that takes one, unless ``arguments`` has another. A relative
    ``path`` is taken to start from ``folder``; ``where`` is the setting that errors name.
    """
    loader = _callable(name, where)
    given = dict(arguments)
    if seed is not None and _takes(loader, "seed"):
        given.setdefault("seed", seed)
    if folder is not None and isinstance(given.get("path"), str):
        given["path"] = str(folder / given["path"])
    found = _made(loader, given, where=name)
    if isinstance(found, Dataset):
        return found
    if isinstance(found, tuple) and len(found) == 4:
        train_x, train_y, test_x, test_y = found
        return Dataset(train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)
    raise ConfigError(
        f"this gives a {type(found).__name__}, not a data set",
        where=name,
        fix="return four numpy arrays: train_x, train_y, test_x, test_y",
    )


def resolve(name: str, *, where: str = "") -> Any:
    """The object that ``package.module:object`` names. Raises ConfigError."""
    module_name, colon, path = name.partition(":")
    parts = [*module_name.split("."), *path.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ConfigError(
            f"'{name}' is not of the form package.module:object",
            where=where,
            fix="write, for instance, torch.nn:Linear",
        )
    found: Any = _imported(module_name, where)
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            raise ConfigError(
                f"'{module_name}' has no '{path}'",
                where=where,
                fix=f"did you mean '{near[0]}'?" if near else "check the spelling",
            )
        found = getattr(found, part)
    return found


def _imported(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigError(
                f"there is no module '{missing}' to import",
                where=where,
                fix="check the spelling, install it, or add its folder to PYTHONPATH",
            ) from error
        raise ConfigError(
            f"module '{name}' needs '{missing}', which is not installed",
            where=where,
            fix=f"install '{missing}'",
        ) from error
    except Exception as error:
        raise ConfigError(
            f"module '{name}' failed while being imported: {_said(error)}", where=where
        ) from error


def _callable(name: str, where: str) -> Any:
    found = resolve(name, where=where)
    if not callable(found):
        raise ConfigError(
            f"'{name}' is a {type(found).__name__}, not a class or a function", where=where
        )
    return found


def _made(factory: Any, arguments: Mapping[str, Any], *, where: str) -> Any:
    """``factory(**arguments)``, with whatever it raises told as a ConfigError."""
    _check_arguments(factory, arguments, where=where)
    try:
        return factory(**arguments)
    except TidingsError:
        raise
    except Exception as error:
        raise ConfigError(f"this failed: {_said(error)}", where=where) from error


def _takes(factory: Any, argument: str) -> bool:
    """Whether the signature names this argument."""
    try:
        return argument in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def _check_arguments(factory: Any, arguments: Mapping[str, Any], *, where: str) -> None:
    """ConfigError when the arguments do not fit the signature."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"wrong arguments: {error}", where=where, fix=f"it takes {signature}"
        ) from error


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _no_torch() -> ConfigError:
    return ConfigError(
        "learner kind 'torch' needs PyTorch, which is not installed",
        where="learner.kind",
        fix="pip install 'tidings[torch]', or use kind = \"softmax\"",
    )
