"""`python -m maie_aiohttp`: see `command`."""

import gc
import sys

# Loading some 700 modules makes no garbage, and looking for it takes a fifth of the start. `command` switches it on.
gc.disable()

from maie_aiohttp.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
