"""One folder per subsystem; nobody else knows its words.

Why: a section (pure) says what is wanted and plans the way there, its driver (asyncio) carries
the steps to the host; a new subsystem is a new folder and one line in `wiring`.
"""
