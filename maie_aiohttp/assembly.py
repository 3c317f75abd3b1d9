"""Everything below HTTP, built from the settings, started and stopped; here, and only here, parts meet each other."""

from __future__ import annotations

import math
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from maie_aiohttp.access.admission import Access
from maie_aiohttp.access.signing import Signer, secret_in
from maie_aiohttp.addresses import socket_address
from maie_aiohttp.catalogs.sql import SqlCatalog, sqlite_url
from maie_aiohttp.catalogs.turn import Turn
from maie_aiohttp.concurrency import beside, once_a_turn
from maie_aiohttp.crew.bell import Bell
from maie_aiohttp.crew.shared_hub import SharedHub
from maie_aiohttp.crew.siblings import Siblings
from maie_aiohttp.crew.succession import recover_beside
from maie_aiohttp.formats import CORE, OPTIONAL
from maie_aiohttp.handoffs import targets
from maie_aiohttp.housekeeping import sweep_once
from maie_aiohttp.inspection.clamd import Clamd
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.inspection.scanner import ClamdScanner, NoScanner
from maie_aiohttp.intake.delivery import Intake, Rules
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.interfaces import Scanner
from maie_aiohttp.limits.quota import Quota
from maie_aiohttp.progress.hub import Hub
from maie_aiohttp.settings import ConfigurationError, Scan, Settings
from maie_aiohttp.stores.blocks import BlockBudget
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.stores.space import Reserve
from maie_aiohttp.upkeep.reconcile import recover


def check(settings: Settings) -> Rules:
    """What the settings make of it that they cannot know themselves. Raises `ConfigurationError`."""
    unknown = sorted(set(settings.audio.extra_formats) - OPTIONAL)
    if unknown:
        names = ", ".join(sorted(OPTIONAL))
        raise ConfigurationError(f"audio.extra_formats: no such format: {', '.join(unknown)}; there are {names}")
    targets.check(settings)
    return Rules(
        settings.limits.max_size,
        CORE.union(settings.audio.extra_formats),
        reuse=settings.uploads.duplicates == "reuse",
        max_duration=settings.limits.max_duration or math.inf,
        finds_facts=settings.facts.workers > 0,
    )


@asynccontextmanager
async def running(settings: Settings, rules: Rules) -> AsyncIterator[Intake]:
    """Everything below HTTP, started and reconciled. Raises `StorageFailed` if it cannot start."""
    raise_descriptor_limit()
    async with AsyncExitStack() as stack:
        folder = _data_folder(stack, settings)
        folder.open()
        intake = await _assemble(stack, folder, settings, rules)
        await recover(intake.store, intake.catalog)
        await _start_inspector(stack, intake)
        yield intake


async def recover_once(settings: Settings, folder: DataFolder) -> None:
    """What has to be done in a data folder before workers serve. Raises `StorageFailed` if that cannot be, and
    `ConfigurationError` where anybody could come in."""
    async with AsyncExitStack() as stack:
        intake = await _assemble(stack, folder, settings, check(settings))
        await access(intake, settings)
        await recover(intake.store, intake.catalog)


@asynccontextmanager
async def joining(settings: Settings, rules: Rules, siblings: Siblings, *, is_successor: bool) -> AsyncIterator[Intake]:
    """Everything below HTTP, beside other workers."""
    hub = SharedHub(siblings)
    async with AsyncExitStack() as stack:
        folder = _data_folder(stack, settings)
        folder.attach()
        intake = await _assemble(stack, folder, settings, rules, hub)
        await _start_inspector(stack, intake)
        stack.callback(hub.close)
        hub.open(is_successor=is_successor)
        if is_successor:
            await stack.enter_async_context(beside(recover_beside(intake.store, intake.catalog, intake.locks)))
        yield intake


async def sweep(settings: Settings, rules: Rules) -> int:
    """Let abandoned uploads expire, whether or not a server runs. Returns how many. Raises `StorageFailed` if that
    cannot be done."""
    async with AsyncExitStack() as stack:
        folder = _data_folder(stack, settings)
        folder.attach()
        return await sweep_once(await _assemble(stack, folder, settings, rules), settings)


async def access(intake: Intake, settings: Settings) -> Access:
    """Raises `ConfigurationError` where anybody could come in."""
    signer = token_signer(settings)
    access = Access(intake.catalog.keyring, signer, settings.access.without_keys, _quota(settings))
    await access.refresh()
    access.check(settings.server)
    return access


async def _start_inspector(stack: AsyncExitStack, intake: Intake) -> None:
    stack.push_async_callback(intake.give_up)
    await intake.inspector.start()


def _data_folder(stack: AsyncExitStack, settings: Settings) -> DataFolder:
    folder = DataFolder(settings.storage.folder)
    stack.callback(folder.close)
    return folder


async def _assemble(
    stack: AsyncExitStack, folder: DataFolder, settings: Settings, rules: Rules, hub: Hub | None = None
) -> Intake:
    store = disk_store(settings, folder)
    stack.callback(store.close)
    turn = Turn(folder.root / "turn")
    stack.callback(turn.close)
    bell = Bell(folder.bell_file)
    stack.callback(bell.close)
    catalog = await SqlCatalog.open(catalog_url(settings, folder), turn.taken, once_a_turn(bell.ring))
    stack.push_async_callback(catalog.close)
    locks = Locks(folder.locks_file)
    stack.callback(locks.close)
    return Intake(store, catalog, _inspector(settings), locks, rules, _scanner(settings.scan), hub)


def raise_descriptor_limit() -> None:
    """Take as many file descriptors as the system gives without asking: every upload needs two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a hard limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def catalog_url(settings: Settings, folder: DataFolder) -> str:
    """Where the uploads are recorded."""
    return settings.catalog.url or sqlite_url(folder.root / "catalog.sqlite")


def token_signer(settings: Settings) -> Signer:
    """Of upload tokens. Makes the secret if there is none. Raises `StorageFailed`."""
    secret = settings.tokens.secret
    return Signer(secret_in(settings.storage.folder / "token-secret") if secret is None else secret.encode())


def disk_store(settings: Settings, folder: DataFolder) -> DiskStore:
    """The store in a folder that is open."""
    storage = settings.storage
    return DiskStore(
        folder,
        BlockBudget(largest=storage.block_size, total=storage.block_budget),
        Reserve(storage.reserve, storage.reserve_ratio),
        threads=storage.write_threads,
    )


def _inspector(settings: Settings) -> Inspector:
    limits = settings.inspector
    return Inspector(workers=limits.workers, timeout=limits.timeout, memory=limits.memory)


def _scanner(configured: Scan) -> Scanner:
    address = socket_address(configured.clamd or "")
    if address is None:
        return NoScanner()
    return ClamdScanner(Clamd(address), connections=configured.connections, timeout=configured.timeout)


def _quota(settings: Settings) -> Quota:
    """Of owners who have none of their own."""
    limits = settings.quota
    return Quota(limits.size, limits.files, limits.uploads, timedelta(seconds=limits.window))
