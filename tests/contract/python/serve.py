"""What the drivers of this folder share. A driver wraps one unmodified SDK from
the registry and does what the tests ask, one command at a time, as the drivers
in tests/contract/js do: serve.mjs there says what the commands are. A command is
a line of standard input, an answer a line of file descriptor 3.

Python's SDKs know further settings, and open takes them as well:

  stream   address of a gRPC listener to stream rules from
  polls    with stream: where to poll from when the stream is lost
"""

import json
import os
import sys
import threading


def serve(driver):
    """Runs the methods of driver, named as the commands, until input ends."""
    answers = os.fdopen(3, "w", encoding="utf-8")
    writing = threading.Lock()

    def run(line):
        command = json.loads(line)
        answer = {"id": command.pop("id")}
        try:
            answer["ok"] = getattr(driver, command.pop("do"))(**command)
        except Exception as error:  # whatever it is, the test is told
            answer["error"] = repr(error)
        with writing:
            print(json.dumps(answer), file=answers, flush=True)

    for line in sys.stdin:
        threading.Thread(target=run, args=(line,), daemon=True).start()
    os._exit(0)  # whatever threads an SDK left behind


def question(asked, **readers):
    """Calls the reader of each entity that is named, and collects what it says."""
    return {kind: read(asked[kind]) for kind, read in readers.items() if asked.get(kind)}


def described(value, rule, group):
    return {"value": value, "ruleID": rule, "group": group or ""}


# How a user's members are called in Python.
_MEMBERS = {
    "userID": "user_id",
    "email": "email",
    "ip": "ip",
    "userAgent": "user_agent",
    "country": "country",
    "locale": "locale",
    "appVersion": "app_version",
    "custom": "custom",
    "privateAttributes": "private_attributes",
    "customIDs": "custom_ids",
}


def members(user):
    """The user of a command, as keyword arguments of an SDK's user type."""
    return {_MEMBERS[name]: value for name, value in user.items()}
