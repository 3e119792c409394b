"""Starts threads with names, has attributes in every form, and says where.

For each line of stdin it tells the frames of a thread, the innermost first, as name:f_lasti.
"""

import ctypes
import sys
import threading

stop = threading.Event()
NAMES = ["alpha", "bêta", "γάμμα", "😀"]


class Plain:
    pass


split = Plain()
split.first, split.second = "one", "two"  # type: ignore[attr-defined]
materialised = Plain()
materialised.first = "uno"  # type: ignore[attr-defined]
vars(materialised)["third"] = "tre"
big = {str(i): str(-i) for i in range(10_000)}
del big["7"]

threads = [threading.Thread(target=stop.wait, name=name, daemon=True) for name in NAMES]
for thread in threads:
    thread.start()

runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
print(runtime, threads[0].ident)
print(*[f"{t.ident}:{getattr(t, 'native_id', 0)}" for t in threading.enumerate()], flush=True)
for _ in sys.stdin:
    frame = sys._current_frames()[threads[0].ident or 0]
    chain = []
    while True:
        chain.append(f"{frame.f_code.co_name}:{frame.f_lasti}")
        if frame.f_back is None:
            break
        frame = frame.f_back
    print(*chain, flush=True)
