"""Documents: what is read, what is refused, and where the fault is said to be."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.model import yaml12
from confsync.model.document import locate, parse
from confsync.model.errors import Unparsable
from confsync.model.ids import canonical
from confsync.model.limits import DOCUMENT_BYTES, DOCUMENT_FAULTS, DOCUMENT_LEAVES

GOLDEN = Path(__file__).parent / "golden"


def cases(kind: str) -> list[str]:
    return sorted(folder.name for folder in (GOLDEN / kind).iterdir())


@pytest.mark.parametrize("case", cases("unparsable"))
def test_a_bad_document_is_refused_with_place_and_hint(case):
    raw = (GOLDEN / "unparsable" / case / "document").read_bytes()
    with pytest.raises(Unparsable) as refused:
        parse(raw, "doc")
    assert (GOLDEN / "unparsable" / case / "expected").read_text() == f"{refused.value}\n"


@pytest.mark.parametrize("case", cases("readable"))
def test_a_good_document_means_what_yaml_1_2_says(case):
    raw = (GOLDEN / "readable" / case / "document").read_bytes()
    tree = json.loads((GOLDEN / "readable" / case / "tree.json").read_text())
    assert canonical(tree) == canonical(parse(raw, "doc"))


BOMBS = {
    "json depth": (b'{"a":' * 12_000, "CS-D09"),
    "flow depth": (b"[" * 65_000, "CS-D09"),
    "brace depth": (b"{" * 65_000, "CS-D07 CS-D09"),
    "block depth": (b"- " * 32_000, "CS-D09"),
    "complex keys": (b"? " * 32_000, "CS-D07 CS-D09"),
    "anchors": (b"a: [" + b"&a x, " * 10_000 + b"]", "CS-D05"),
    "leaves": (b'{"a":[' + b"1," * 30_000 + b"1]}", "CS-D09"),
    "long integer": (b'{"a":' + b"9" * 4_000 + b"}", "CS-D10"),
    "integer beyond python": (b'{"a":' + b"9" * 60_000 + b"}", "CS-D09"),
    "bytes": (b"#" * (DOCUMENT_BYTES + 1), "CS-D01"),
    "control characters": (b"\x01" * 65_000, "CS-D03"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_few_words(name):
    raw, codes = BOMBS[name]
    with pytest.raises(Unparsable) as refused:
        parse(raw, "doc")
    found = {violation.code for violation in refused.value.violations}
    assert set(codes.split()) <= found
    assert len(refused.value.violations) <= 2 * DOCUMENT_FAULTS


def test_as_many_values_as_permitted_are_read():
    tree = {"a": [1] * DOCUMENT_LEAVES}
    assert tree == parse(canonical(tree), "doc")


@pytest.mark.parametrize("depth", [32, 33])
def test_json_and_yaml_agree_on_the_deepest_document(depth):
    raw = b'{"a":' * depth + b"1" + b"}" * depth
    if depth == 32:
        assert parse(raw, "doc") == parse(b"# YAML\n" + raw, "doc")
    else:
        for text in (raw, b"# YAML\n" + raw):
            with pytest.raises(Unparsable, match="nested deeper"):
                parse(text, "doc")


def test_every_violation_names_the_document():
    with pytest.raises(Unparsable) as refused:
        parse(b"a: *x\n1: 2\n", "desired/common/bgp")
    assert ["desired/common/bgp"] * 2 == [found.where for found in refused.value.violations]


BLOCK = b"""\
local_as: 65501
peers:
  rr1:
    ipv4: 172.18.6.1
    asn:
  rr2: {ipv4: 172.18.6.2}
rules:
  - prefix: 10.0.0.0/8
  - prefix: 10.1.0.0/16
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("local_as",), (1, 11)),
        (("peers",), (2, 1)),
        (("peers", "rr1"), (3, 3)),
        (("peers", "rr1", "ipv4"), (4, 11)),
        (("peers", "rr1", "asn"), (5, 5)),
        (("peers", "rr2"), (6, 8)),
        (("peers", "rr2", "ipv4"), (6, 15)),
        (("rules", 1, "prefix"), (9, 13)),
        (("peers", "rr3", "ipv4"), (2, 1)),
        (("peers", "rr1", "nothing"), (3, 3)),
        (("rules", 7), (7, 1)),
        ((), (1, 1)),
        (("absent",), (1, 1)),
    ],
)
def test_a_value_is_located_or_its_nearest_ancestor(path, place):
    assert place == locate(BLOCK, path)


def test_json_is_located_beside_surrogate_pairs():
    raw = rb'{"note": "\ud83d\ude00", "asn": 1}'
    assert (1, 33) == locate(raw, ("asn",))


def test_nothing_is_located_in_what_cannot_be_read():
    assert (0, 0) == locate(b"", ("a",))


TEXTS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Cn", "Co")), max_size=12
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["no", "on", "012", "1:30", "~", "null", "a\nb", "\t", "{", "<<", "NaN"])
)
TREES = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


class Dumper(yaml.SafeDumper):
    """Writes texts in quotes (PyYAML knows YAML 1.1's words only) and no anchors."""

    def ignore_aliases(self, data):
        return True


Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@settings(deadline=None)
@given(TREES)
def test_canonical_text_reads_back(tree):
    assert tree == parse(canonical(tree), "doc")


@settings(deadline=None)
@given(TREES)
def test_json_read_as_yaml_means_the_same(tree):
    reading = yaml12.read(canonical(tree).decode())
    assert ((), canonical(tree)) == (reading.violations, canonical(reading.tree))


@settings(deadline=None)
@given(TREES, st.booleans())
def test_yaml_and_json_of_the_same_value_are_equal(tree, flow):
    text = yaml.dump(tree, Dumper=Dumper, allow_unicode=True, default_flow_style=flow)
    assert canonical(parse(canonical(tree), "doc")) == canonical(parse(text.encode(), "doc"))


@settings(deadline=None)
@given(st.binary(max_size=200) | TEXTS.map(str.encode))
def test_no_bytes_do_more_than_be_refused(raw):
    with suppress(Unparsable):
        assert isinstance(parse(raw, "doc"), dict)
    line, column = locate(raw, ("a",))
    assert line >= 0
    assert column >= 0
