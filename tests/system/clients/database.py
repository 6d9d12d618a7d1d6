"""Looks into, or alters, a database of a system that is stopped: as somebody with an editor would.

Arguments: the file, then SQL with its parameters. Prints the rows as JSON.
"""

import json
import sqlite3
import sys


def plain(value):
    return value.decode() if isinstance(value, bytes) else value


path, statement, *parameters = sys.argv[1:]
with sqlite3.connect(path) as connection:
    rows = connection.execute(statement, parameters).fetchall()
    if not rows and connection.total_changes == 0 and not statement.startswith("SELECT"):
        sys.exit(f"nothing was changed by: {statement}")
print(json.dumps([[plain(value) for value in row] for row in rows]))
