"""Names that a package hands on without importing their modules before they are used."""

import importlib
from collections.abc import Callable, Mapping


def handed_on(package: str, homes: Mapping[str, str]) -> tuple[Callable, Callable]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that hands names on.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    homes : mapping of str to str
        The module in which each name lives.
    """

    def get(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    def names():
        return sorted(homes)

    return get, names
