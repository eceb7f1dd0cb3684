"""Batches of requests: each line of a file becomes a job, each job's end becomes one line of a file.

Its rooms: ``records`` what is known of each batch, one message · ``desk`` which edge works on which, and takeovers ·
``claim`` the right to work on one · ``runner`` one batch from its first look to its end, over ``answering`` (lines out
as jobs, and back), ``lines`` (input and output lines in the broker's streams) and ``kinds`` (one row an API).
"""
