"""Providers by name: the loader's own, and those that other installed distributions bring as entry points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from loader.errors import ProviderError
from loader.providers.base import Provider

GROUP = "loader.providers"

# The name is also a folder, a word of the command line and part of the names of environment variables.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Providers(Mapping[str, Provider]):
    """The loader's own providers, in their order, then those from outside, by name.

    Names are known without importing anything; a provider from outside is imported when it is asked for, so that a
    broken one troubles nobody who does not use it. Raises ProviderError where it is, or where two have one name.
    """

    def __init__(self, own: Iterable[Provider]) -> None:
        self._own = {provider.name: provider for provider in own}

    def __getitem__(self, name: str) -> Provider:
        outside = self._outside
        if name in self._own:
            return self._own[name]
        return _load(outside[name])

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._outside])

    def __len__(self) -> int:
        return len(self._own) + len(self._outside)

    @cached_property
    def _outside(self) -> dict[str, EntryPoint]:
        origins = dict.fromkeys(self._own, "the loader itself")
        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, _origin(point))):
            if not _NAME.fullmatch(point.name):
                raise ProviderError(
                    f"{_origin(point)} names a provider '{point.name}'; a name has small letters, digits and _ only. "
                    "Uninstall it, or have it renamed"
                )
            if point.name in origins:
                raise ProviderError(
                    f"two providers have the name '{point.name}': one of {origins[point.name]}, one of "
                    f"{_origin(point)}. Uninstall one, or have it renamed"
                )
            origins[point.name], found[point.name] = _origin(point), point
        return found


def _origin(point: EntryPoint) -> str:
    """The distribution of an entry point, in words."""
    return f"the distribution {point.dist.name} {point.dist.version}" if point.dist else f"'{point.value}'"


def _load(point: EntryPoint) -> Provider:
    broken = f"the provider '{point.name}' of {_origin(point)} cannot be used"
    mend = "Mend the distribution or uninstall it"
    try:
        provider = point.load()
    except Exception as error:
        raise ProviderError(f"{broken}: {point.value}: {type(error).__name__}: {error}. {mend}") from error
    if not isinstance(provider, Provider):
        raise ProviderError(f"{broken}: {point.value} is no loader.providers.base.Provider. {mend}")
    if provider.name != point.name:
        raise ProviderError(f"{broken}: it calls itself '{provider.name}'. {mend}")
    return provider
