"""What goes wrong with Redis, in a sentence."""

from __future__ import annotations

from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout


def explained(error: Exception) -> str:
    """For people who look after the server."""
    match error:
        case AuthenticationError() | AuthorizationError():
            return "Redis does not let this server in."
        case ResponseError():
            return f"Redis refused it: {error}."
        case RedisTimeout() | TimeoutError():
            return "Redis did not answer in time."
    return "Redis cannot be reached, or broke off."
