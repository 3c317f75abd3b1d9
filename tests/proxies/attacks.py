"""Requests with two meanings: where two servers on a way take a different one each, what follows in the same connection
is a request for one of them that the other never saw.

Each is sent with a second request in it that would store a recording. Proxies may read it as two requests, and some do
where this server does not; but what they take for one must not become two behind them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.wire import COLLECTION, WAV, chunked, request

SMUGGLED = "smuggled"
"""The name of the file and the id of the request that is hidden."""

HIDDEN = request(
    f"X-Request-ID: {SMUGGLED}",
    f'Content-Disposition: attachment; filename="{SMUGGLED}.wav"',
    f"Content-Length: {len(WAV)}",
    body=WAV,
)

ID = "X-Request-ID: attack"
CHUNKED = "Transfer-Encoding: chunked"

NO_BODY = b"0\r\n\r\n"
"""Of no bytes, in chunks."""


def shown(*headers: str, body: bytes = b"", line: str = f"POST {COLLECTION} HTTP/1.1") -> bytes:
    """The request that nobody overlooks."""
    return request(ID, *headers, body=body, line=line)


def _length_first(*headers: str, line: str = f"POST {COLLECTION} HTTP/1.1") -> bytes:
    """A body that holds the hidden request, for who reads the length; of no bytes, for who reads chunks ("CL.TE")."""
    body = NO_BODY + HIDDEN
    return shown(f"Content-Length: {len(body)}", *headers, body=body, line=line)


def _chunks_first(*headers: str, line: str = f"POST {COLLECTION} HTTP/1.1") -> bytes:
    """A chunk that holds the hidden request, for who reads chunks; no more than its size, for who reads the length
    ("TE.CL")."""
    body = chunked([HIDDEN])
    return shown(f"Content-Length: {body.index(HIDDEN)}", *headers, body=body, line=line)


CODINGS = {
    "plain": [CHUNKED],
    "capitals": ["TRANSFER-ENCODING: CHUNKED"],
    "another coding": ["Transfer-Encoding: xchunked"],
    "a coding behind": ["Transfer-Encoding: chunked, identity"],
    "a coding before": ["Transfer-Encoding: identity, chunked"],
    "a comma before": ["Transfer-Encoding: ,chunked"],
    "a comma behind": ["Transfer-Encoding: chunked,"],
    "twice": [CHUNKED, CHUNKED],
    "another one behind": [CHUNKED, "Transfer-Encoding: x"],
    "another one before": ["Transfer-Encoding: x", CHUNKED],
    "nothing before": ["Transfer-Encoding:", CHUNKED],
    "a parameter": ["Transfer-Encoding: chunked;q=1"],
    "quoted": ['Transfer-Encoding: "chunked"'],
    "a tab before": ["Transfer-Encoding:\tchunked"],
    "a tab behind": ["Transfer-Encoding: chunked\t"],
    "a vertical tab": ["Transfer-Encoding: \x0bchunked"],
    "a form feed": ["Transfer-Encoding: chunked\x0c"],
    "a NUL": ["Transfer-Encoding: chunked\0"],
    "a high byte": ["Transfer-Encoding: \xa0chunked"],
    "a space before the colon": ["Transfer-Encoding : chunked"],
    "a tab before the colon": ["Transfer-Encoding\t: chunked"],
    "a space in the name": ["Transfer Encoding: chunked"],
    "an underscore in the name": ["Transfer_Encoding: chunked"],
    "a NUL in the name": ["Transfer-Encoding\0: chunked"],
    "a space before the name": [" Transfer-Encoding: chunked"],
    "folded before it": ["X: a", "\tTransfer-Encoding: chunked"],
    "folded behind the colon": ["Transfer-Encoding:\r\n chunked"],
    "folded in the name": ["Transfer-\r\n Encoding: chunked"],
    "behind a bare line feed": ["X: a\nTransfer-Encoding: chunked"],
    "behind a bare carriage return": ["X: a\rTransfer-Encoding: chunked"],
    "behind two line feeds": ["X: a\n\nTransfer-Encoding: chunked"],
    "named as the connection's": ["Connection: close, Transfer-Encoding", CHUNKED],
}

CONNECTIONS_OWN = [f"Connection: {name}" for name in ("Content-Length", "Transfer-Encoding", "Host", "X-Request-ID")]

LENGTHS = {
    "none, then that of the hidden": ["Content-Length: 0", f"Content-Length: {len(HIDDEN)}"],
    "that of the hidden, then none": [f"Content-Length: {len(HIDDEN)}", "Content-Length: 0"],
    "two in one field": [f"Content-Length: 0, {len(HIDDEN)}"],
    "the same twice": [f"Content-Length: {len(HIDDEN)}, {len(HIDDEN)}"],
    "with a sign": [f"Content-Length: +{len(HIDDEN)}"],
    "negative": [f"Content-Length: -{len(HIDDEN)}"],
    "hexadecimal": [f"Content-Length: {len(HIDDEN):#x}"],
    "with an underscore": ["Content-Length: 1_0"],
    "with a space inside": [f"Content-Length: 0 {len(HIDDEN)}"],
    "with a point": [f"Content-Length: {len(HIDDEN)}.0"],
    "an exponent": ["Content-Length: 1e1"],
    "nothing": ["Content-Length:"],
    "beyond 64 bits": [f"Content-Length: {2**64 + len(HIDDEN)}"],
    "beyond 32 bits, and none": [f"Content-Length: {2**32}", "Content-Length: 0"],
    "digits of another script": ["Content-Length: \xb2"],
    "a space before the colon": [f"Content-Length : {len(HIDDEN)}"],
    "an underscore in the name": [f"Content_Length: {len(HIDDEN)}"],
    "folded": ["Content-Length:\r\n 0"],
    "folded behind a digit": [f"Content-Length: 0\r\n {len(HIDDEN)}"],
    "behind a bare line feed": [f"X: a\nContent-Length: {len(HIDDEN)}"],
    "behind a bare carriage return": [f"X: a\rContent-Length: {len(HIDDEN)}"],
}

CHUNKS = {
    "an extension with a line feed": b"5;\nabcde\r\n" + NO_BODY + HIDDEN,
    "an extension up to a line feed": b"5;x\nabcde\r\n0\r\n\r\n" + HIDDEN,
    "an extension with a carriage return": b"5;x\r5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "an extension, quoted, with a line end": b'5;x="\r\nabcde\r\n"' + NO_BODY + HIDDEN,
    "a size beyond 64 bits": b"10000000000000005\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a size of a thousand zeros": b"0" * 1000 + b"5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a size with a sign": b"+5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a negative size": b"-5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a size with 0x": b"0x5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a size with an underscore": b"0_5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a size with a space before": b" 5\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "a size with a space behind": b"5 \r\nabcde\r\n" + NO_BODY + HIDDEN,
    "no size": b"\r\nabcde\r\n" + NO_BODY + HIDDEN,
    "line feeds only": b"5\nabcde\n0\n\n" + HIDDEN,
    "carriage returns only": b"5\rabcde\r0\r\r" + HIDDEN,
    "a longer chunk than its size": b"5\r\nabcdeXX" + NO_BODY + HIDDEN,
    "no line end behind a chunk": b"5\r\nabcde" + NO_BODY + HIDDEN,
    "a line feed behind a chunk": b"5\r\nabcde\n" + NO_BODY + HIDDEN,
    "a last chunk with a line feed": b"0\n\r\n" + HIDDEN,
    "no empty line at the end": b"0\r\n" + HIDDEN,
    "a line feed at the end": b"0\r\n\n" + HIDDEN,
    "a carriage return at the end": b"0\r\n\r" + HIDDEN,
    "a trailer of a length": b"0\r\nContent-Length: 5\r\n\r\n" + HIDDEN,
    "a trailer of a coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "a trailer with a line feed": b"0\r\nX: a\n\r\n" + HIDDEN,
    "a trailer that is none": b"0\r\nPOST /v1/uploads HTTP/1.1\r\n\r\n" + HIDDEN,
}

ENDLESS = {
    "a size of 64 ones": b"f" * 16,
    "a size of 63 ones": b"7" + b"f" * 15,
    "a size beyond 32 bits": b"100000005",
}
"""Sizes of chunks that do not come to their end; some would, cut off at 32 or 64 bits."""

LINES = {
    "HTTP/1.0": f"POST {COLLECTION} HTTP/1.0",
    "HTTP/1.2": f"POST {COLLECTION} HTTP/1.2",
    "HTTP/2.0": f"POST {COLLECTION} HTTP/2.0",
    "http/1.1": f"POST {COLLECTION} http/1.1",
    "no version": f"POST {COLLECTION}",
    "two spaces": f"POST  {COLLECTION}  HTTP/1.1",
    "tabs": f"POST\t{COLLECTION}\tHTTP/1.1",
    "a space in the target": f"POST {COLLECTION}?a b HTTP/1.1",
    "a carriage return in the target": f"POST {COLLECTION}?a\rb HTTP/1.1",
    "a fragment": f"POST {COLLECTION}#a HTTP/1.1",
    "another host's target": f"POST http://evil.example{COLLECTION} HTTP/1.1",
    "no host's target": f"POST http://{COLLECTION} HTTP/1.1",
    "another scheme's target": f"POST gopher://edge{COLLECTION} HTTP/1.1",
    "a target without a slash": f"POST {COLLECTION[1:]} HTTP/1.1",
    "an encoded line end": f"POST {COLLECTION}%20HTTP/1.1%0d%0aX:%20 HTTP/1.1",
    "a host for a target": "CONNECT edge:80 HTTP/1.1",
    "an asterisk": "POST * HTTP/1.1",
}

UNREAD = {
    "GET": f"GET {COLLECTION} HTTP/1.1",
    "HEAD": f"HEAD {COLLECTION} HTTP/1.1",
    "DELETE": f"DELETE {COLLECTION} HTTP/1.1",
    "OPTIONS": f"OPTIONS {COLLECTION} HTTP/1.1",
    "TRACE": f"TRACE {COLLECTION} HTTP/1.1",
    "a path that is none": "POST /nowhere HTTP/1.1",
    "a method that is none": f"NONE {COLLECTION} HTTP/1.1",
}
"""Who answers these without reading the body must not go on behind their header."""


def _attacks() -> Mapping[str, bytes]:
    sized = f"Content-Length: {len(HIDDEN)}"
    attacks = {
        **{f"length and chunks, {name}": _length_first(*fields) for name, fields in CODINGS.items()},
        **{f"chunks and length, {name}": _chunks_first(*fields) for name, fields in CODINGS.items()},
        **{f"length, {name}": shown(*fields, body=HIDDEN) for name, fields in LENGTHS.items()},
        **{f"chunks, {name}": shown(CHUNKED, body=body) for name, body in CHUNKS.items()},
        **{f"length, {field}": shown(sized, field, body=HIDDEN) for field in CONNECTIONS_OWN},
        **{f"chunks, {field}": shown(CHUNKED, field, body=chunked([HIDDEN])) for field in CONNECTIONS_OWN},
        **{f"line, {name}": shown(sized, body=HIDDEN, line=line) for name, line in LINES.items()},
        **{f"unread, {name}": shown(sized, body=HIDDEN, line=line) for name, line in UNREAD.items()},
    }
    for name, line in UNREAD.items():
        attacks[f"unread, in chunks, {name}"] = shown(CHUNKED, body=chunked([HIDDEN]), line=line)
        attacks[f"unread, expected, {name}"] = shown(sized, "Expect: 100-continue", body=HIDDEN, line=line)
    return attacks | {
        "chunks and length, HTTP/1.0": _chunks_first(CHUNKED, line=f"POST {COLLECTION} HTTP/1.0"),
        "length and chunks, HTTP/1.0": _length_first(
            CHUNKED, "Connection: keep-alive", line=f"POST {COLLECTION} HTTP/1.0"
        ),
        "an expectation with something before it": shown(sized, "Expect: x 100-continue", body=HIDDEN),
        "an expectation of nothing": shown("Content-Length: 0", "Expect: 100-continue", body=HIDDEN),
        "an upgrade to HTTP/2": shown(
            "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", sized, body=HIDDEN
        ),
        "an upgrade to a WebSocket": shown(
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            sized,
            body=HIDDEN,
        ),
        "HTTP/2 from the start": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
        "a space before the first field": shown(sized, body=HIDDEN).replace(b"\r\nHost", b"\r\n Host", 1),
        "two hosts": shown("Host: evil.example", sized, body=HIDDEN),
        "a line feed for every line end": shown(sized).replace(b"\r\n", b"\n") + HIDDEN,
        "a field without a colon": shown("nonsense", sized, body=HIDDEN),
        "a field without a name": shown(": nonsense", sized, body=HIDDEN),
    }


ATTACKS = _attacks()

WAITING = {name: shown(CHUNKED, body=size + b"\r\nabcde\r\n" + NO_BODY + HIDDEN) for name, size in ENDLESS.items()}

TWO = frozenset(
    {"length, an underscore in the name", "chunks, a size of a thousand zeros", "an expectation of nothing"}
)
"""These only look like attacks: by all rules, the hidden request is the next one."""

FRAMED_TWICE = frozenset(
    name
    for name in ATTACKS
    if name.startswith(("length and chunks,", "chunks and length,")) and "underscore" not in name
)
"""With a length and chunks at once, in whatever disguise."""
