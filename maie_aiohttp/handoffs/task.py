"""What MAIE is to make of a recording, read from the text fields that came with it.

The fields and their values are those of MAIE's own `POST /v1/process`. What else came with it is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from maie_aiohttp.errors import InvalidTask
from maie_aiohttp.model import Metadata
from maie_aiohttp.settings import AsrBackend, Feature, Rq, TemplateId, once_each


def _names(value: object) -> object:
    """All names in a field that may be repeated, and may hold one, several with commas between, or a JSON list."""
    values = value if isinstance(value, tuple) else (value,)
    return [name for one in values for name in _split(one)]


def _split(value: object) -> Iterator[object]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        yield from from_json(value)  # ValueError where it is nested too deep, which `json` answers in its own way
    elif isinstance(value, str):
        yield from (name for part in value.split(",") if (name := part.strip()))
    else:
        yield value


def _plain(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Wishes(BaseModel):
    """What a client asked for: each value is possible, whatever the others are."""

    model_config = ConfigDict(frozen=True)

    features: Annotated[tuple[Feature, ...], BeforeValidator(_names), AfterValidator(once_each)]
    template_id: TemplateId | None
    asr_backend: Annotated[AsrBackend, BeforeValidator(_plain)]
    enable_diarization: bool = True
    enable_vad: bool | None = None
    vad_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """From which probability on it is speech."""


class Task(Wishes):
    """Something MAIE's workers can do."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.features:
            raise ValueError("`features` names none.")
        if "summary" in self.features and self.template_id is None:
            raise ValueError("`template_id` is required where `features` has `summary`.")
        return self


_Read = TypeVar("_Read", bound=Wishes)


def task(fields: Metadata, usual: Rq) -> Task:
    """What is asked for in the fields, and the `usual` where they are silent or empty. Raises `InvalidTask`."""
    return _read(Task, fields, usual)


def check(fields: Metadata, usual: Rq) -> None:
    """Raises `InvalidTask` for fields that cannot become a task, whatever others are still to come."""
    _read(Wishes, fields, usual)


def _read(kind: type[_Read], fields: Metadata, usual: Rq) -> _Read:
    said = {name: fields[name] for name in kind.model_fields if fields.get(name)}
    unsaid = {"features": usual.features, "template_id": usual.template_id, "asr_backend": usual.asr_backend}
    try:
        return kind.model_validate(unsaid | said)
    except ValidationError as error:
        raise InvalidTask(_explained(error)) from None


def _explained(invalid: ValidationError) -> str:
    """The first thing that is wrong, in a sentence that repeats nothing of what was sent."""
    error = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
    said = error["msg"].removeprefix("Value error, ")
    return f"`{error['loc'][0]}`: {said}." if error["loc"] else said
