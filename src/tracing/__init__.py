"""Traces: what the proxy writes down while it works, and what becomes of it.

    middlewares/trace ──append──▶ journal (memory-mapped files) ──read──▶ recorder ──▶ trace files
         the proxy process                                        a process of its own

The proxy only copies bytes into a file mapping; everything that costs time (parsing, decoding,
hashing, indenting, the file system) is the recorder's. What has been appended survives `kill -9`
of either process. Import-free: the recorder starts small.
"""
