"""What clients and operators ask for, each in three steps: what has to be there before, the attempt in which something
goes wrong, and what the same client does afterwards, when everything works again and must succeed."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from itertools import count
from typing import ClassVar

from aiohttp import FormData

from maie_aiohttp.errors import IntakeError
from maie_aiohttp.upkeep import expiry
from tests.faults.ledger import content, digest
from tests.faults.place import Answer, Place
from tests.layers import query

UPLOADS = "/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
IETF = {"Upload-Draft-Interop-Version": "9"}
PARTIAL = {**IETF, "Content-Type": "application/partial-upload"}
ATTEMPTS = 4
"""How often a client goes on at once after a failure."""

KEYED = 10_000
"""Recordings from this number on are sent with a key, and have no other number."""

_numbers = count()


def fresh() -> int:
    """A recording that nobody has sent yet."""
    return next(_numbers)


class Door(ABC):
    """One client."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ledger = place.ledger
        self.done = False

    async def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Whatever has to be there before."""

    @abstractmethod
    async def attempt(self) -> None:
        """Do it, while something goes wrong."""

    async def finish(self) -> None:
        """Do it again if it has not been done; nothing goes wrong any more."""
        if not self.done:
            await self.attempt()
        if not self.done:
            self.ledger.complain(f"{type(self).__name__} does not work any more")


class Form(Door):
    """Two files in one form: both or none."""

    async def attempt(self) -> None:
        numbers = fresh(), fresh()
        form = FormData(quote_fields=False)
        for number in numbers:
            form.add_field("file", content(number), filename="speech.wav")
        answer = await self.place.ask("POST", UPLOADS, data=form)
        if answer.status == 201:
            self.done = True
            uploads: list[dict[str, str]] = answer.document["uploads"]  # type: ignore[assignment]
            for number, upload in zip(numbers, uploads, strict=True):
                self.ledger.stored(upload["id"], digest(number))


class Raw(Door):
    """The body is the file."""

    async def attempt(self) -> None:
        number = fresh()
        headers = {"Content-Type": "audio/wav", "Content-Disposition": 'attachment; filename="speech.wav"'}
        answer = await self.place.ask("POST", UPLOADS, headers, content(number))
        if answer.status == 201:
            self.done = True
            self.ledger.stored(answer.id, digest(number))


class Keyed(Door):
    """The same, sent again with its key until there is an answer."""

    key: str

    async def prepare(self) -> None:
        self.key = f"key-{len(self.ledger.keys)}"
        self.ledger.keyed(self.key, KEYED + len(self.ledger.keys))

    async def attempt(self) -> None:
        for _ in range(ATTEMPTS):
            if await send_keyed(self.place, self.key):
                self.done = True
                return


async def send_keyed(place: Place, key: str) -> bool:
    """Whether the recording with this key is stored now."""
    number = place.ledger.keys[key]
    headers = {"Content-Type": "audio/wav", "Idempotency-Key": f'"{key}"'}
    answer = await place.ask("POST", UPLOADS, headers, content(number))
    if answer.status == 201:
        place.ledger.stored(answer.id, digest(number))
    return answer.status == 201


class InPieces(Door):
    """A client that goes on where the server says it stands."""

    creation: ClassVar[dict[str, str]]
    always: ClassVar[dict[str, str]]
    pieces: ClassVar[int]
    id: str | None = None
    number: int

    async def attempt(self) -> None:
        for _ in range(ATTEMPTS):
            if await (self._begin() if self.id is None else self._go_on()):
                return

    async def _begin(self) -> bool:
        self.number = fresh()
        length = len(content(self.number))
        answer = await self.place.ask("POST", UPLOADS, {**self.creation, "Upload-Length": str(length)})
        if answer.status == 201:
            self.id = answer.id
            self.ledger.begun(self.id, self.number)
            return await self._send(0)
        return False

    async def _go_on(self) -> bool:
        self.done = await resume(self.place, self.id or "", self.number, self.always)
        return self.done

    async def _send(self, offset: int) -> bool:
        """The rest, in pieces. Returns whether the last one is in."""
        whole = content(self.number)
        size = len(whole) // self.pieces + 1
        while offset < len(whole):
            piece = whole[offset : offset + size]
            if not await send(self.place, self.id or "", self.always, offset, piece, len(whole)):
                return False
            offset += len(piece)
        self.done = True
        return True


async def send(place: Place, id: str, always: dict[str, str], offset: int, piece: bytes, length: int) -> bool:
    """One piece. Returns whether the server took it."""
    last = offset + len(piece) == length
    fields = {**always, "Upload-Offset": str(offset)}
    if "Tus-Resumable" not in always:
        fields["Upload-Complete"] = "?1" if last else "?0"
    answer = await place.ask("PATCH", f"{UPLOADS}/{id}", fields, piece)
    _hear(place, id, answer)
    if answer.status not in (200, 201, 204):
        return False
    if last:
        place.ledger.stored(id, digest(place.ledger.recordings[id]))
    elif id in place.ledger.told and place.ledger.told[id] != offset + len(piece):
        place.ledger.complain(f"a piece was taken, but the offset told is {place.ledger.told[id]}")
    return True


async def resume(place: Place, id: str, number: int, always: dict[str, str]) -> bool:
    """Ask where the upload stands, and send the rest. Returns whether it is stored."""
    head = {key: value for key, value in always.items() if key != "Content-Type"}
    answer = await place.ask("HEAD", f"{UPLOADS}/{id}", head)
    if answer.status not in (200, 204):
        return False
    _hear(place, id, answer)
    offset, whole = int(answer.headers["Upload-Offset"]), content(number)
    if offset == len(whole) and await is_stored(place, id):
        place.ledger.stored(id, digest(number))
        return True
    return await send(place, id, always, offset, whole[offset:], len(whole))


async def is_stored(place: Place, id: str) -> bool:
    """Whether the server says so."""
    answer = await place.ask("GET", f"{UPLOADS}/{id}")
    return answer.status == 200 and answer.document["status"] == "stored"


def _hear(place: Place, id: str, answer: Answer) -> None:
    if answer.status < 500 and "Upload-Offset" in answer.headers:
        place.ledger.heard(id, int(answer.headers["Upload-Offset"]))


class Tus(InPieces):
    """A creation and three PATCHes."""

    always = BYTES
    creation: ClassVar = {**TUS, "Upload-Metadata": "filename " + base64.b64encode(b"speech.wav").decode()}
    pieces = 3


class Resumable(InPieces):
    """The IETF's protocol, a creation and two appends."""

    always = PARTIAL
    creation: ClassVar = {**IETF, "Upload-Complete": "?0"}
    pieces = 2


class Deletion(Door):
    """Of a stored upload."""

    id: str

    async def prepare(self) -> None:
        stored = Raw(self.place)
        await stored.finish()
        self.id = list(self.ledger.acknowledged)[-1]
        self.ledger.asks_to_end(self.id)

    async def attempt(self) -> None:
        for _ in range(ATTEMPTS):
            answer = await self.place.ask("DELETE", f"{UPLOADS}/{self.id}")
            if answer.status in (204, 404):
                self.done = True
                self.ledger.ended(self.id)
                return


class Concatenation(Door):
    """Of two partial uploads."""

    number: int

    async def prepare(self) -> None:
        self.number = fresh()
        whole = content(self.number)
        middle = len(whole) // 2
        self.parts = [await self._part(piece) for piece in (whole[:middle], whole[middle:])]

    async def _part(self, piece: bytes) -> str:
        headers = {**TUS, "Upload-Concat": "partial", "Upload-Length": str(len(piece))}
        id = (await self.place.ask("POST", UPLOADS, headers)).id
        answer = await self.place.ask("PATCH", f"{UPLOADS}/{id}", {**BYTES, "Upload-Offset": "0"}, piece)
        assert answer.status == 204, answer
        return id

    async def attempt(self) -> None:
        concat = "final;" + " ".join(f"{UPLOADS}/{part}" for part in self.parts)
        answer = await self.place.ask("POST", UPLOADS, {**TUS, "Upload-Concat": concat})
        if answer.status == 201:
            self.done = True
            self.ledger.stored(answer.id, digest(self.number))


class Expiry(Door):
    """A sweep that finds an upload overdue."""

    id: str

    async def prepare(self) -> None:
        number = fresh()
        whole = content(number)
        self.id = (await self.place.ask("POST", UPLOADS, {**TUS, "Upload-Length": str(len(whole))})).id
        answer = await self.place.ask("PATCH", f"{UPLOADS}/{self.id}", {**BYTES, "Upload-Offset": "0"}, whole[:9000])
        assert answer.status == 204, answer
        self.ledger.asks_to_end(self.id)
        overdue = f"UPDATE uploads SET expires_at = 1 WHERE id = '{self.id.replace('-', '')}'"  # noqa: S608 - our own id
        query(self.place.folder / "catalog.sqlite", overdue)

    async def attempt(self) -> None:
        try:
            await expiry.sweep(self.place.intake)
        except IntakeError:
            return
        self.done = True
        answer = await self.place.ask("GET", f"{UPLOADS}/{self.id}")
        if answer.status == 200 and answer.document["status"] != "expired":
            self.ledger.complain(f"after a sweep, what was overdue is {answer.document['status']}")


DOORS: tuple[type[Door], ...] = (Form, Raw, Keyed, Tus, Resumable, Deletion, Concatenation, Expiry)
