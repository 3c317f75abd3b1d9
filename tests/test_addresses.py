"""Places to connect to, as they are written in the settings."""

from __future__ import annotations

import pytest

from maie_aiohttp.addresses import LONGEST_SOCKET, SocketAddress, socket_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/clamav/clamd.ctl", "/run/clamav/clamd.ctl"),
        ("unix:/with a space: and:colons", "/with a space: and:colons"),
        ("unix:/" + "a" * (LONGEST_SOCKET - 1), "/" + "a" * (LONGEST_SOCKET - 1)),
        ("tcp://clamav:3310", ("clamav", 3310)),
        ("TCP://Clamav.Example.org:3310", ("clamav.example.org", 3310)),
        ("tcp://127.0.0.1:1", ("127.0.0.1", 1)),
        ("tcp://[::1]:3310", ("::1", 3310)),
    ],
)
def test_a_place_to_connect_to(text: str, address: SocketAddress) -> None:
    assert socket_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:clamd.ctl",
        "unix:/a\0b",
        "unix:/" + "a" * LONGEST_SOCKET,
        "unix:/" + "\u00e9" * (LONGEST_SOCKET // 2 + 1),
        "/run/clamav/clamd.ctl",
        "clamav:3310",
        "tcp://clamav",
        "tcp://:3310",
        "tcp://clamav:0",
        "tcp://clamav:65536",
        "tcp://clamav:3310/",
        "tcp://user@clamav:3310",
        "tcp://a b:3310",
        "http://clamav:3310",
    ],
)
def test_no_place_to_connect_to(text: str) -> None:
    assert socket_address(text) is None
