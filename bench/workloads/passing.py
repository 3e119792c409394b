"""Do nothing: what is left is the start-up of the interpreter and of the profiler."""

pass
