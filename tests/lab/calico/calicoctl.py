"""A calicoctl on a folder of files: the command line and the exit codes of the real one.

Separate because a driver runs it as a program of its own, and because what a command does is told
in commands.py. It knows `create`, `apply`, `replace`, `patch`, `delete`, `get`, `validate`
and `version`.

Source: projectcalico/calico, calicoctl/calicoctl/calicoctl.go and the usage texts of
calicoctl/calicoctl/commands/{create,apply,replace,patch,delete,get,validate,version}.go, at v3.31.
"""

from __future__ import annotations

import getopt
import re
import sys
from typing import TYPE_CHECKING

from tests.lab.calico.commands import Arguments, ClientError, Command, CommandError
from tests.lab.calico.faults import Record, suffer
from tests.lab.calico.store import Store

if TYPE_CHECKING:
    from pathlib import Path

COMMON = ["filename=", "recursive", "skip-empty", "config=", "namespace=", "context="]
COMMON += ["allow-version-mismatch"]
LONG = {
    "create": [*COMMON, "skip-exists"],
    "apply": COMMON,
    "replace": COMMON,
    "patch": ["patch=", "type=", "config=", "namespace=", "context=", "allow-version-mismatch"],
    "delete": [*COMMON, "skip-not-exists"],
    "get": [*COMMON, "output=", "all-namespaces", "export"],
    "validate": ["filename=", "recursive", "skip-empty", "allow-version-mismatch"],
    "version": ["config=", "poll=", "allow-version-mismatch"],
}
SHORT = {
    "patch": "p:t:c:n:",
    "delete": "f:Rc:n:s",
    "get": "f:Rc:n:o:Aa",
    "validate": "f:R",
    "version": "c:",
}
WORDS = {
    "f": "filename",
    "R": "recursive",
    "c": "config",
    "n": "namespace",
    "o": "output",
    "p": "patch",
}
WORDS |= {"A": "all-namespaces", "a": "all-namespaces", "s": "skip-not-exists", "p": "patch"}


def parsed(argv: list[str]) -> Arguments:
    """Take a command line apart. Raises CommandError."""
    wrong = f"Invalid option: 'calicoctl {' '.join(argv)}'. Use flag '--help' to read about a"
    wrong += " specific subcommand."
    early, rest = {}, list(argv)
    while rest and rest[0] == "--allow-version-mismatch":
        early[rest.pop(0)[2:]] = ""
    if not rest:
        raise CommandError(wrong)
    verb = rest.pop(0)
    if verb not in LONG:
        raise CommandError(f'unknown command: "{verb}"')
    try:
        found, words = getopt.gnu_getopt(rest, SHORT.get(verb, "f:Rc:n:"), LONG[verb])
    except getopt.GetoptError as error:
        raise CommandError(wrong) from error
    options = {WORDS.get(name.strip("-"), name.strip("-")): text for name, text in found}
    by_file = "filename" in options or verb == "version"
    by_kind = bool(words) and verb in {"get", "delete", "patch"}
    if by_file == by_kind or (by_file and words):
        raise CommandError(wrong)
    return Arguments(verb, early | options, words[0] if words else "", tuple(words[1:]))


def main(folder: Path, argv: list[str]) -> int:
    """Run one command on the datastore of a folder; returns its exit code."""
    record = Record(folder)
    record.begin(argv)
    verb = next((word for word in argv if not word.startswith("-")), "")
    faults = record.faults(verb)
    suffer(faults, lambda: record.faults(verb))
    sys.stdout.write("x" * faults.flood_bytes)
    code = 1
    try:
        output = Command(parsed(argv), Store(folder), record, faults).run()
        sys.stdout.write('{"half": ' if faults.not_json else output)
        code = 0
    except ClientError as error:
        sys.stdout.write(f"Failed to create Calico API client: {error}\n")
    except CommandError as error:
        sys.stdout.write(error.output)
        sys.stderr.write(f"{massaged(str(error))}\n")
    code = code if faults.exit_code is None else faults.exit_code
    sys.stdout.flush()
    record.add("calls", exit_code=code)
    return code


def massaged(text: str) -> str:
    """Return an error as it is shown."""
    text = text.removeprefix("error unmarshaling JSON: while decoding JSON: json: ")
    if found := re.search(r'unknown field "([^"]+)"', text):
        return f"field in document is not recognized or is in the wrong location: {found[1]}"
    return text
