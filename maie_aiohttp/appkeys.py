"""What handlers find in the application, typed."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.access import Access
from maie_aiohttp.drain import Drain
from maie_aiohttp.intake import Intake
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.resumption import Resumption
from maie_aiohttp.settings import Limits, Server

INTAKE = web.AppKey("intake", Intake)
RESUMPTION = web.AppKey("resumption", Resumption)
STORE = web.AppKey("store", Store)
CATALOG = web.AppKey("catalog", Catalog)
SERVER = web.AppKey("server", Server)
LIMITS = web.AppKey("limits", Limits)
DRAIN = web.AppKey("drain", Drain)
ACCESS = web.AppKey("access", Access)
