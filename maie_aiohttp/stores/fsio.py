"""Every call by which this store, and what repairs it, reaches the file system: the system's own functions, under one
roof, so that a test can let any one of them fail, or end the process there.

Always called as `fsio.write(...)`; a name imported from here would keep the system's function.
"""

from __future__ import annotations

import fcntl
import os

chmod = os.chmod
close = os.close
fchmod = os.fchmod
fdatasync = os.fdatasync if hasattr(os, "fdatasync") else os.fsync  # macOS has no fdatasync
flock = fcntl.flock
fstat = os.fstat
fstatvfs = os.fstatvfs
fsync = os.fsync
ftruncate = os.ftruncate
link = os.link
listdir = os.listdir
lseek = os.lseek
lstat = os.lstat
makedirs = os.makedirs
mkdir = os.mkdir
open = os.open  # noqa: A001 - the system's name for it
posix_fadvise = os.posix_fadvise if hasattr(os, "posix_fadvise") else None  # macOS has none
pread = os.pread
replace = os.replace
stat = os.stat
unlink = os.unlink
write = os.write
