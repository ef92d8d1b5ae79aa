"""The read model: what the page knows of its stations' records, in a SQLite file of its own.

It is filled from the replay socket, a record and the place it was at in one transaction, so a kill loses nothing and
doubles nothing; it may be deleted at any time and is rebuilt from the journals. Rejected: reading the journal's file
(the daemon has it to itself), and a database server on the device.
"""
