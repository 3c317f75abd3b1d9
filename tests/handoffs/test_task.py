"""What clients may ask of MAIE, and how it is read."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp.errors import InvalidTask
from maie_aiohttp.handoffs.task import Task, check, task
from maie_aiohttp.model import Metadata
from maie_aiohttp.settings import Rq

USUAL = Rq()
WITH_SUMMARY = Rq(features=("summary",), template_id="meeting_notes_v1", asr_backend="chunkformer")
BOTH = ("clean_transcript", "summary")


def refused(fields: Metadata) -> str:
    with pytest.raises(InvalidTask) as caught:
        task(fields, USUAL)
    return str(caught.value)


def test_nothing_said_is_the_usual() -> None:
    assert task({}, USUAL) == Task(features=("clean_transcript",), template_id=None, asr_backend="whisper")
    assert task({}, WITH_SUMMARY) == Task(
        features=("summary",), template_id="meeting_notes_v1", asr_backend="chunkformer"
    )


@pytest.mark.parametrize("name", Task.model_fields)
def test_an_empty_field_says_nothing(name: str) -> None:
    assert task({name: ""}, USUAL) == task({}, USUAL)


@pytest.mark.parametrize(
    "features",
    [
        BOTH,
        "clean_transcript,summary",
        " clean_transcript , summary ,",
        '["clean_transcript", "summary"]',
        ' ["clean_transcript","summary"] ',
        ("clean_transcript", "summary", "clean_transcript"),
        ('["clean_transcript"]', "summary"),
    ],
    ids=["repeated", "commas", "spaces", "json", "json with spaces", "twice the same", "mixed"],
)
def test_features_are_sent_in_many_ways(features: str | tuple[str, ...]) -> None:
    assert task({"features": features, "template_id": "t"}, USUAL).features == BOTH


def test_values_are_read_as_what_they_are() -> None:
    fields = {
        "enable_diarization": "false",
        "enable_vad": "true",
        "vad_threshold": "0.35",
        "asr_backend": " ChunkFormer",
    }
    read = task(fields, USUAL)
    assert (read.enable_diarization, read.enable_vad, read.vad_threshold) == (False, True, 0.35)
    assert read.asr_backend == "chunkformer"


@pytest.mark.parametrize(
    "fields",
    [
        {"features": "hunter2"},
        {"features": ("summary", "hunter2"), "template_id": "t"},
        {"features": '["summary", ["hunter2"]]', "template_id": "t"},
        {"features": '[{"hunter2": 1}]'},
        {"features": "[1]"},
        {"features": '["hunter2"'},
        {"features": "[" * 16_000},
        {"template_id": "../hunter2"},
        {"template_id": "/hunter2"},
        {"template_id": ".hunter2"},
        {"template_id": "hunter2\n"},
        {"template_id": "h" * 129},
        {"template_id": ("hunter2", "hunter2")},
        {"asr_backend": "hunter2"},
        {"enable_diarization": "hunter2"},
        {"enable_vad": "hunter2"},
        {"vad_threshold": "hunter2"},
        {"vad_threshold": "1.01"},
        {"vad_threshold": "-0.01"},
        {"vad_threshold": "nan"},
        {"vad_threshold": "inf"},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_what_cannot_be_is_refused_by_its_name_and_not_repeated(fields: Metadata) -> None:
    reason = refused(fields)
    assert reason.startswith(f"`{next(iter(fields))}`: ")
    assert "hunter2" not in reason
    with pytest.raises(InvalidTask):
        check(fields, USUAL)


def test_a_summary_needs_a_template_which_may_come_later() -> None:
    check({"features": "summary"}, USUAL)
    assert refused({"features": "summary"}) == "`template_id` is required where `features` has `summary`."
    assert task({"features": "summary"}, WITH_SUMMARY).template_id == "meeting_notes_v1"


@pytest.mark.parametrize("features", ["[]", ",", ("", "")], ids=["list", "comma", "repeated"])
def test_features_that_name_none_are_refused_unless_more_come(features: str | tuple[str, ...]) -> None:
    check({"features": features}, USUAL)
    assert refused({"features": features}) == "`features` names none."


def test_fields_of_others_are_not_looked_at() -> None:
    assert task({"title": "hunter2", "file": ("a", "b")}, USUAL) == task({}, USUAL)


values = st.text(max_size=40) | st.lists(st.text(max_size=20), max_size=4).map(tuple)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*Task.model_fields, "other"]), values))
def test_whatever_comes_is_a_task_or_is_refused(fields: Metadata) -> None:
    with suppress(InvalidTask):
        read = task(fields, USUAL)
        assert Task.model_validate(read.model_dump()) == read
