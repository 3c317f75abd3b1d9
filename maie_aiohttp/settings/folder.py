"""The one setting that a start makes true: there is a folder for data."""

from __future__ import annotations

import tempfile

from maie_aiohttp.settings.failures import ConfigurationError
from maie_aiohttp.settings.groups import Settings


def prepare_folder(settings: Settings) -> None:
    """Create the data folder if it is missing, and prove it writable by creating a file in it.
    Raises ConfigurationError."""
    folder = settings.storage.folder
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise ConfigurationError(f"storage.folder: cannot write to {folder}: {error.strerror}") from error
