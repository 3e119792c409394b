"""Write the names of this machine's system calls, by number, as initialisers of an array of C: the kernel's headers
know them, through the C compiler. `syscalls.py OUT COMPILER...`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Write the file."""
    out, *compiler = sys.argv[1:]
    command = [*compiler, "-E", "-dM", "-x", "c", "-"]
    done = subprocess.run(command, input="#include <asm/unistd.h>\n", capture_output=True, text=True, check=True)
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.MULTILINE)
    Path(out).write_text("".join(f'[{number}] = "{name}",\n' for name, number in found))


main()
