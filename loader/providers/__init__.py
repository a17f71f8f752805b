"""The providers that the loader knows: an explicit list, one file each."""

from __future__ import annotations

from loader.providers.appizer import APPIZER
from loader.providers.base import Provider
from loader.providers.batch import BATCH
from loader.providers.bloomreach import BLOOMREACH
from loader.providers.pushengage import PUSHENGAGE

PROVIDERS: dict[str, Provider] = {p.name: p for p in (BATCH, APPIZER, BLOOMREACH, PUSHENGAGE)}
