"""Where clients believe they are, as a proxy reports it: `Forwarded` (RFC 7239) and the older `X-Forwarded-*`.

A proxy writes behind what it received, so the last word of each field is that of the proxy which is connected here.
The words before it came to that proxy from outside, where anybody may have written them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from multidict import MultiMapping

from maie_aiohttp.addresses import Address, ip_of, prefix, web_origin

_PAIR = re.compile(
    r"""
    [ \t]* (?P<name> [\w!#$%&'*+.^`|~-]+ ) =
    (?: (?P<token> [\w!#$%&'*+.^`|~:\[\]-]+ ) | "(?P<quoted> (?: [^"\\] | \\. )* )" )
    [ \t]* (?P<end> [;,] | \Z )
    """,
    re.ASCII | re.VERBOSE,
)
"""A parameter and what ends it. A token may have the colons and brackets of ports and IPv6 addresses, which not every
proxy quotes."""

_MARKS = frozenset({"forwarded", "via", "x-real-ip"})


def root(fields: MultiMapping[str]) -> str:
    """Scheme, host and path prefix as the nearest proxy reports them. What is not well formed counts as not reported,
    and so do scheme and host if one of them is missing, or if the two kinds of fields contradict each other: a proxy
    that writes one kind may let a client's other kind pass."""
    element = _last_element(_last_line(fields, "Forwarded"))
    reported = {
        web_origin(f"{element.get('proto', '')}://{element.get('host', '')}"),
        web_origin(f"{_last_word(fields, 'X-Forwarded-Proto')}://{_last_word(fields, 'X-Forwarded-Host')}"),
    } - {None}
    origin = reported.pop() if len(reported) == 1 else None
    return (origin or "") + (prefix(_last_word(fields, "X-Forwarded-Prefix")) or "")


def client(fields: MultiMapping[str], is_proxy: Callable[[Address], bool]) -> Address | None:
    """Whoever sent the request to the first of the proxies that are believed: the last address reported that is not one
    of them. None if there is none, or if the two kinds of fields contradict each other: also where one of them says
    nothing that could be read, which may be a client's doing, so that the other one, its own, is heard."""
    told = [told for told in (_standard(fields), _customary(fields)) if told]
    reported = {_nearest(addresses, is_proxy) for addresses in told}
    return reported.pop() if len(reported) == 1 else None


def is_passed_on(fields: MultiMapping[str]) -> bool:
    """Whether a proxy, or somebody who plays one, passed the request on for another."""
    return any(name.lower().startswith("x-forwarded-") or name.lower() in _MARKS for name in fields)


def _last_line(fields: MultiMapping[str], name: str) -> str:
    return fields.getall(name, [""])[-1]


def _last_word(fields: MultiMapping[str], name: str) -> str:
    return _last_line(fields, name).rpartition(",")[2].strip(" \t")


def _standard(fields: MultiMapping[str]) -> Sequence[str]:
    """The addresses in `Forwarded`; none if it speaks of other things, and an empty one if it cannot be read."""
    line = ",".join(fields.getall("Forwarded", []))
    elements = _elements(line)
    if any("for" in element for element in elements):
        return [element.get("for", "") for element in elements]
    return [] if elements else [""]


def _customary(fields: MultiMapping[str]) -> Sequence[str]:
    """Those in `X-Forwarded-For`."""
    line = ",".join(fields.getall("X-Forwarded-For", []))
    return [word.strip(" \t") for word in line.split(",")] if line else []


def _nearest(told: Sequence[str], is_proxy: Callable[[Address], bool]) -> Address | None:
    """The last that is no proxy. What is no address was not written by one that is believed."""
    for text in reversed(told):
        address = ip_of(text)
        if address is None or not is_proxy(address):
            return address
    return None


def _last_element(line: str) -> Mapping[str, str]:
    return next(reversed(_elements(line)), {})


def _elements(line: str) -> Sequence[Mapping[str, str]]:
    """The parameters of each element of `Forwarded`; none if any is malformed: a quotation mark that a client left open
    would swallow what the proxy wrote behind it."""
    elements: list[dict[str, str]] = [{}]
    position = 0
    while position < len(line):
        pair = _PAIR.match(line, position)
        if pair is None or pair["name"].lower() in elements[-1]:
            return ()
        elements[-1][pair["name"].lower()] = pair["token"] or re.sub(r"\\(.)", r"\1", pair["quoted"])
        position = pair.end()
        if pair["end"] == ",":
            elements.append({})
    return elements
