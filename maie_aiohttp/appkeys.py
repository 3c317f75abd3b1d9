"""What handlers find in the application, typed."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.drain import Drain
from maie_aiohttp.intake import Intake
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.settings import Limits

INTAKE = web.AppKey("intake", Intake)
STORE = web.AppKey("store", Store)
CATALOG = web.AppKey("catalog", Catalog)
LIMITS = web.AppKey("limits", Limits)
DRAIN = web.AppKey("drain", Drain)
