"""Tidings: peer-to-peer federated learning with nobody in charge."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tidings")
except PackageNotFoundError:  # a source tree on the path that was never installed
    __version__ = "0+source"

__all__ = ["__version__"]
