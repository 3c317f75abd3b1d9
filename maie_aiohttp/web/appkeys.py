"""What handlers find in the application, typed."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.access.admission import Access
from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.intake.delivery import Intake
from maie_aiohttp.intake.resumption import Resumption
from maie_aiohttp.interfaces import Catalog, Pipeline, Store
from maie_aiohttp.limits.rate import NoRate
from maie_aiohttp.progress.followers import Followers
from maie_aiohttp.settings import Handoff, Limits, Server, Tokens
from maie_aiohttp.upkeep.outlines import Outlines
from maie_aiohttp.web.drain import Drain

INTAKE = web.AppKey("intake", Intake)
RESUMPTION = web.AppKey("resumption", Resumption)
STORE = web.AppKey("store", Store)
CATALOG = web.AppKey("catalog", Catalog)
FOLLOWERS = web.AppKey("followers", Followers)
PIPELINE = web.AppKey("pipeline", Pipeline)
SERVER = web.AppKey("server", Server)
LIMITS = web.AppKey("limits", Limits)
DRAIN = web.AppKey("drain", Drain)
HANDOFF = web.AppKey("handoff", Handoff)
RATE = web.AppKey("rate", NoRate)
TOKENS = web.AppKey("tokens", Tokens)
ACCESS = web.AppKey("access", Access)
ANALYST = web.AppKey("analyst", Analyst)
OUTLINES = web.AppKey("outlines", Outlines)
TAGGER = web.AppKey("tagger", Analyst)
