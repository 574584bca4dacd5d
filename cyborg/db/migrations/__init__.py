"""Alembic environment: how a database gets from one release to the next.

Rules of a revision: it looks before it changes, so that running it again
after a crash finishes the work (MySQL commits every statement); it searches
for rows that stand in its way first and then changes nothing; it only adds,
as long as conductors of two releases may run together; it names every
constraint and enumeration; it never imports :mod:`cyborg.db.models`, which
moves on while revisions stay.
"""
