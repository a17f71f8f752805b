"""The providers that the loader knows: an explicit list, one file each."""

from __future__ import annotations

from loader.providers.base import Provider
from loader.providers.batch import BATCH
from loader.providers.bloomreach import BLOOMREACH

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (BATCH, BLOOMREACH)}
