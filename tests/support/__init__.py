"""The black-box kit: a scripted raw upstream, a raw-socket client, and the program as a process.

Nothing here imports `src`: the tests that use it know the program as its users do, by its command
line, its wire and its files.
"""
