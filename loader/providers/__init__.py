"""The providers that the loader knows: an explicit list, one file each, and those of other distributions."""

from __future__ import annotations

from loader.providers.appizer import APPIZER
from loader.providers.batch import BATCH
from loader.providers.bloomreach import BLOOMREACH
from loader.providers.pushengage import PUSHENGAGE
from loader.providers.registry import Providers

PROVIDERS = Providers((BATCH, APPIZER, BLOOMREACH, PUSHENGAGE))
