"""How anything long runs: files and folders, batches, what it was made with, how it refuses.

A run goes on after a crash, is shared among processes and says where its numbers come from.
"""
