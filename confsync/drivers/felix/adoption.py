"""What a hand-made `felix.cfg` would come to, if it were taken over.

Separate because adopting changes nothing: it reads, and says what a document can and cannot say.
"""

from __future__ import annotations

import json

from confsync.drivers.felix.found import Host
from confsync.drivers.felix.plan import split
from confsync.drivers.felix.shapes import SECTION, Felix
from confsync.ports import Survey


def survey(want: Felix | None, host: Host) -> Survey:
    """Return the record of a file, the document that says the same, and what it leaves out."""
    if host.file.text is None:
        return Survey(None, f"{host.config_file} is not there: there is nothing to take over")
    known, unknown = split(host)
    kept = want is not None and want.unknown == "keep"
    lost = tuple(
        f"{name} = {text} (Calico {host.version} does not know it; unknown: keep keeps the line)"
        for name, text in sorted(unknown.items())
    )
    record = {
        "digest": host.file.digest,
        "names": {},
        "had": {"parameters": known},
    }
    return Survey(record, lost=() if kept else lost, draft=draft(known, keep=bool(unknown)))


def draft(parameters: dict[str, str], *, keep: bool) -> str:
    """Return the document, as YAML, that says what a file says."""
    lines = [f"# {SECTION}.yaml"]
    if keep:
        lines.append("unknown: keep")
    lines.append("parameters:")
    lines += [f"  {name}: {json.dumps(text)}" for name, text in sorted(parameters.items())]
    return "\n".join(lines) + "\n"
