"""What each command of calicoctl does to the datastore, and how it reports it.

Separate because it is the part that a driver's care is about. What surprises is the real one's:
after an error it goes on with the next object; "Partial success" is told only when more went well
than wrong, and counts "the first" though it may be others; a failed `replace` counts as handled;
labels and annotations are merged, so an update drops none; an update without a `resourceVersion`
takes the stored one; the deletion of an enabled IPPool is two writes. A directory for `-f`
and tables are not there; `patch` merges maps and puts lists in place.

Source: projectcalico/calico, calicoctl/calicoctl/commands/{create,apply,replace,patch,delete,get,
validate,version}.go, calicoctl/calicoctl/commands/common/{resources,printer,version_mismatch}.go
and calicoctl/calicoctl/resourcemgr/resourcemgr.go, at v3.31.
"""

from __future__ import annotations

import copy
import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.calico.documents import InvalidDocumentError, read_objects
from tests.lab.calico.faults import die
from tests.lab.calico.kinds import API_VERSION, BY_NAME, BY_WORD, Kind, Object
from tests.lab.calico.rules import InvalidError, judged
from tests.lab.calico.store import (
    AlreadyExistsError,
    ConflictError,
    DoesNotExistError,
    Key,
    Store,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.lab.calico.faults import Faults, Record

CLIENT_VERSION = "v3.31.2"
PAST = {"patch": "patched"} | {
    "create": "created",
    "apply": "applied",
    "replace": "replaced",
    "validate": "validated",
}
HIT = {"create": "Hit error", "apply": "Hit error(s)", "validate": "hit error(s)"}
KEPT = ("name", "namespace", "labels", "annotations")
UPDATE_TRIES = 5
RETRY_S = 0.05  # the real one waits a second
OWN = ("uid", "creationTimestamp", "resourceVersion")


class CommandError(Exception):
    """The command ends with 1 and this text on standard error; `output` went out before."""

    def __init__(self, text: str, output: str = "") -> None:
        """Keep both."""
        self.output = output
        super().__init__(text)


class ClientError(Exception):
    """No way to the datastore; the real one tells it on standard output."""


class ActionError(Exception):
    """One object could not be handled."""


class Arguments(NamedTuple):
    """A command line taken apart; a flag that was given is there with an empty text."""

    verb: str
    options: Mapping[str, str]
    kind: str = ""
    names: tuple[str, ...] = ()


class Results:
    """What became of the objects."""

    def __init__(self, asked: int, single_kind: str) -> None:
        """Nothing yet."""
        self.asked, self.single_kind, self.handled = asked, single_kind, 0
        self.answers: list[Object] = []
        self.errors: list[str] = []

    @property
    def all_errors(self) -> str:
        """The errors as Go prints a slice."""
        return f"[{' '.join(self.errors)}]"


class Command:
    """One command on one datastore."""

    def __init__(self, words: Arguments, store: Store, record: Record, faults: Faults) -> None:
        """Name what it is about; nothing happens yet."""
        self._words, self._options, self._faults = words, words.options, faults
        self._store, self._record = store, record
        self._namespace = words.options.get("namespace", "")

    def run(self) -> str:
        """Return what goes to standard output. Raises CommandError, ClientError."""
        verb = self._words.verb
        if verb == "version":
            return self._version()
        if verb == "get" and self._options.get("output", "ps") not in {"json", "yaml"}:
            raise CommandError("the laboratory's calicoctl answers in json or yaml alone")
        if verb != "validate":
            self._same_versions()
        wanted = self._wanted()
        if verb != "validate":
            self._connect()
        kinds = {item["kind"] for item in wanted}
        results = Results(len(wanted), kinds.pop() if len(kinds) == 1 else "")
        for item in wanted:
            self._handle(item, results)
        report = {"get": self._got, "delete": self._deleted, "replace": self._replaced}
        report["patch"] = self._patched
        return report.get(verb, self._written)(results)

    def _version(self) -> str:
        text = f"Client Version:    {CLIENT_VERSION}\nGit commit:        0000000\n"
        try:
            self._connect()
        except ClientError as error:
            raise CommandError(str(error), text) from error
        cluster = self._faults.cluster_version or CLIENT_VERSION
        return f"{text}Cluster Version:   {cluster}\nCluster Type:      typha,bgp\n"

    def _same_versions(self) -> None:
        cluster = self._faults.cluster_version.removeprefix("v").split("-")[0]
        if "allow-version-mismatch" in self._options or not cluster or self._faults.unreachable:
            return
        if cluster != CLIENT_VERSION.removeprefix("v"):
            text = f"Version mismatch.\nClient Version:   {CLIENT_VERSION}\n"
            text += f"Cluster Version:  {cluster}\nUse --allow-version-mismatch to override.\n"
            raise CommandError(text)

    def _connect(self) -> None:
        if os.environ.get("DATASTORE_TYPE", "etcdv3") != "etcdv3":
            raise ClientError("invalid configuration: no configuration has been provided")
        if self._faults.unreachable:
            raise ClientError("context deadline exceeded")

    def _wanted(self) -> list[Object]:
        if "filename" not in self._options:
            return self._named()
        filename = self._options["filename"]
        try:
            found = read_objects(filename)
        except InvalidDocumentError as error:
            failed = "failed" if self._words.verb == "validate" else "Failed"
            raise CommandError(f"{failed} to execute command: {error}") from error
        except OSError as error:
            text = f"stat {filename}: {str(error.strerror).lower()}"
            raise CommandError(text) from error
        if not found:
            raise CommandError(f"No resources specified in file {filename}")
        return found

    def _named(self) -> list[Object]:
        kind = BY_WORD.get(self._words.kind.lower())
        if kind is None:
            raise CommandError(f"resource type '{self._words.kind}' is not supported")
        if "" in self._words.names or (self._words.verb == "delete" and not self._words.names):
            raise CommandError("resource name may not be empty")
        return [
            {"apiVersion": API_VERSION, "kind": kind.name, "metadata": {"name": name}, "spec": {}}
            for name in self._words.names or [""]
        ]

    def _handle(self, item: Object, results: Results) -> None:
        verbs: dict[str, Callable[[Object], Object]] = {
            "create": self._create,
            "apply": self._apply,
            "replace": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "get": self._get,
            "validate": lambda item: judged(item, None, None),
        }
        verb = self._words.verb
        try:
            if verb != "validate":
                self._place(item, BY_NAME[item["kind"]])
            results.answers.append(verbs[verb](item))
            results.handled += 1
        except (ActionError, InvalidError, StoreError) as error:
            if self._is_skipped(error):
                results.handled += 1
                return
            results.errors.append(str(error))
            results.handled += verb == "replace"

    def _is_skipped(self, error: Exception) -> bool:
        if isinstance(error, AlreadyExistsError):
            return "skip-exists" in self._options
        return isinstance(error, DoesNotExistError) and "skip-not-exists" in self._options

    def _place(self, item: Object, kind: Kind) -> None:
        """Give an object its namespace, or refuse the one that it has."""
        own, wanted = item["metadata"].get("namespace", ""), self._namespace
        every = "all-namespaces" in self._options
        if not kind.namespaced:
            if own:
                text = "namespace should not be specified for a non-namespaced resource. "
                raise ActionError(f"{text}{kind.name} is not a namespaced resource")
            if every or wanted:
                raise ActionError(f"{kind.name} is not namespaced")
        elif every and wanted:
            text = "cannot use both --namespace and --all-namespaces flags at the same time"
            raise ActionError(text)
        elif own and wanted and own != wanted:
            text = "resource namespace does not match client namespace."
            raise ActionError(f"{text} {own} != {wanted}")
        elif every:
            item["metadata"].pop("namespace", None)
        else:
            item["metadata"]["namespace"] = own or wanted or "default"

    def _create(self, item: Object) -> Object:
        kept = {name: item["metadata"][name] for name in KEPT if name in item["metadata"]}
        if version := item["metadata"].get("resourceVersion"):
            reason = "field must not be set for a Create request"
            text = f"error with field Metadata.ResourceVersion = '{version}' ({reason})"
            raise ActionError(text)
        made = judged(item | {"metadata": kept}, None, self._store.content().items)
        return self._write("create", made, lambda: self._store.create(made))

    def _apply(self, item: Object) -> Object:
        unversioned = copy.deepcopy(item)
        unversioned["metadata"].pop("resourceVersion", None)
        try:
            return self._create(unversioned)
        except AlreadyExistsError:
            return self._update(item)

    def _update(self, item: Object) -> Object:
        for _ in range(UPDATE_TRIES):
            try:
                return self._update_once(item)
            except ConflictError:
                time.sleep(RETRY_S)
        raise ActionError("failed to update the resource: <nil>")

    def _update_once(self, item: Object) -> Object:
        key = Key.of(item)
        held = self._store.get(key)
        version = item["metadata"].get("resourceVersion", "")
        if version and version != held["metadata"]["resourceVersion"]:
            raise ActionError(f"update conflict: {key}")
        metadata = dict(held["metadata"])
        for name in ("labels", "annotations"):
            if merged := {**metadata.get(name, {}), **(item["metadata"].get(name) or {})}:
                metadata[name] = merged
        made = judged(item | {"metadata": metadata}, held, self._store.content().items)
        return self._write("update", made, lambda: self._store.update(made))

    def _patch(self, item: Object) -> Object:
        held = self._store.get(Key.of(item))
        try:
            made = merged(held, json.loads(self._options["patch"]))
        except (KeyError, ValueError) as error:
            raise ActionError(f"permorming strategic merge patch: {error}") from error
        if made["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
            raise ActionError(f"updating existing resource: update conflict: {Key.of(item)}")
        made = judged(made, held, self._store.content().items)
        return self._write("patch", made, lambda: self._store.update(made))

    def _delete(self, item: Object) -> Object:
        key, version = Key.of(item), item["metadata"].get("resourceVersion", "")
        if key.kind == "IPPool" and not (held := self._store.get(key))["spec"].get("disabled"):
            held["spec"]["disabled"] = True
            held["metadata"]["resourceVersion"] = version or held["metadata"]["resourceVersion"]
            self._write("update", held, lambda: self._store.update(held))
            version = ""
        return self._write("delete", item, lambda: self._store.delete(key, version))

    def _get(self, item: Object) -> Object:
        kind, metadata = BY_NAME[item["kind"]], item["metadata"]
        if metadata["name"]:
            if kind.namespaced and "namespace" not in metadata:
                raise ActionError("cannot use --all-namespace flag for getting a single resource")
            return self._store.get(Key.of(item))
        return {
            "kind": kind.list_name,
            "apiVersion": API_VERSION,
            "metadata": {"resourceVersion": str(self._store.content().revision)},
            "items": self._store.items(kind.name, metadata.get("namespace", "")),
        }

    def _write(self, action: str, item: Object, write: Callable[[], Object]) -> Object:
        if refusal := self._faults.reject.get(item["metadata"]["name"]):
            raise ActionError(refusal)
        number = len(self._record.lines("writes")) + 1 - self._faults.writes_before
        if number == self._faults.die_before_write:
            die(self._faults)
        done = write()
        self._record.add("writes", action=action, key=str(Key.of(item)))
        if number == self._faults.die_after_write:
            die(self._faults)
        return done

    def _got(self, results: Results) -> str:
        answers: list[Object] | None = results.answers or None
        if answers and self._words.names and "export" in self._options:
            for answer in answers:
                for name in ("namespace", *OWN):
                    answer["metadata"].pop(name, None)
                answer["metadata"]["creationTimestamp"] = None
        shown = answers[0] if answers and len(answers) == 1 else answers
        output = json.dumps(shown, indent=2) + "\n"
        if self._options["output"] == "yaml":
            import yaml

            output = yaml.safe_dump(shown)
        if results.errors:
            raise CommandError("\n".join(results.errors), output)
        return output

    def _written(self, results: Results) -> str:
        verb, kind = self._words.verb, results.single_kind
        if not results.handled:
            what = f"any {kind and repr(kind) + ' '}resources"
            what = f"'{kind}' resource" if results.asked == 1 else what
            failed = "failed" if verb == "validate" else "Failed"
            raise CommandError(f"{failed} to {verb} {what}: {results.all_errors}")
        if results.errors:
            partial = results.handled > len(results.errors)
            output = self._partial(results) if partial else ""
            raise CommandError(f"{HIT[verb]}: {results.all_errors}", output)
        return self._success(PAST[verb], results)

    def _replaced(self, results: Results) -> str:
        if results.errors:
            raise CommandError(f"Hit error: {results.errors[-1]}", self._partial(results))
        return self._success("replaced", results)

    def _patched(self, results: Results) -> str:
        if results.errors:
            text = f"Failed to patch '{results.single_kind}' resource: {results.all_errors}"
            raise CommandError(text)
        return f"Successfully patched {results.handled} '{results.single_kind}' resource\n"

    def _deleted(self, results: Results) -> str:
        output = self._success("deleted", results) if results.handled else ""
        if results.errors:
            what = f"{results.single_kind and repr(results.single_kind) + ' '}resource"
            lines = "".join(f"Failed to delete {what}: {error}\n" for error in results.errors)
            raise CommandError(lines, output)
        return output

    def _partial(self, results: Results) -> str:
        what = f"{results.single_kind and repr(results.single_kind) + ' '}resources"
        count = f"the first {results.handled} out of {results.asked}"
        return f"Partial success: {PAST[self._words.verb]} {count} {what}:\n"

    def _success(self, past: str, results: Results) -> str:
        kind = results.single_kind and f"'{results.single_kind}' "
        return f"Successfully {past} {results.handled} {kind}resource(s)\n"


def merged(held: Object, patch: Object) -> Object:
    """Return an object with a patch in it: maps grow together, null removes."""
    made = dict(held)
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict) and isinstance(made.get(name), dict):
            made[name] = merged(made[name], value)
        else:
            made[name] = value
    return made
