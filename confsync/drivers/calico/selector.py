"""Calico's selector language: a text read into an expression, and asked of an object's labels.

Separate because policies, sets and the guard against a lock-out ask the same question. Whatever
parses here parses in Calico; a fault says at which character it stands.
Source: projectcalico/calico, libcalico-go/lib/selector (tokenizer and parser).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from confsync.model.shapes import listed

DEPTH_MAX: Final = 32
"""Parentheses within parentheses, far more than anybody writes; a stack has an end."""
NAMESPACE_LABEL: Final = "projectcalico.org/namespace"
"""What Calico itself puts on every endpoint that has a namespace."""
_SPACE: Final = " \t"
_LABEL: Final = re.compile(r"[a-zA-Z0-9_./-]{1,512}", re.ASCII)
_OPERATOR: Final = re.compile(
    r"==|!=|contains|starts[ \t]*with|ends[ \t]*with|not[ \t]*in|in", re.ASCII
)
_CALL: Final = re.compile(r"(has|all|global)\([ \t]*", re.ASCII)


class Word(StrEnum):
    """How a label's value is compared."""

    EQUAL = "=="
    UNEQUAL = "!="
    IN = "in"
    NOT_IN = "not in"
    CONTAINS = "contains"
    STARTS = "starts with"
    ENDS = "ends with"


_WORDS: Final = {str(word).replace(" ", ""): word for word in Word}


class BadSelectorError(ValueError):
    """A text that is not a selector; `column` counts from 1, `hint` is the way to mend it."""

    def __init__(self, column: int, message: str, hint: str) -> None:
        super().__init__(f"at character {column}: {message}")
        self.column = column
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Everything:
    """``all()``."""

    def matches(self, labels: Mapping[str, str]) -> bool:  # noqa: ARG002 - one of the kinds
        return True


@dataclass(frozen=True, slots=True)
class Has:
    """``has(label)``."""

    label: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.label in labels


@dataclass(frozen=True, slots=True)
class Outside:
    """``global()``: what is in no namespace."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        return NAMESPACE_LABEL not in labels


@dataclass(frozen=True, slots=True)
class Compare:
    """A label's value beside one or several texts; an absent label is unequal to all of them."""

    label: str
    word: Word
    texts: tuple[str, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.label)
        if self.word in (Word.UNEQUAL, Word.NOT_IN):
            return found not in self.texts
        if found is None:
            return False
        if self.word is Word.CONTAINS:
            return self.texts[0] in found
        if self.word is Word.STARTS:
            return found.startswith(self.texts[0])
        if self.word is Word.ENDS:
            return found.endswith(self.texts[0])
        return found in self.texts


@dataclass(frozen=True, slots=True)
class Negation:
    """``!`` before an expression."""

    inner: Expression

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.inner.matches(labels)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Expressions with ``&&`` between them."""

    parts: tuple[Expression, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(part.matches(labels) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Expressions with ``||`` between them."""

    parts: tuple[Expression, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return any(part.matches(labels) for part in self.parts)


Expression = Everything | Has | Outside | Compare | Negation | AllOf | AnyOf


def parse(text: str) -> Expression:
    """Return a selector's expression; an empty text selects everything.

    Raises: BadSelectorError.
    """
    scanner = _Scanner(text)
    if scanner.ended():
        return Everything()
    found = _either(scanner, 0)
    if not scanner.ended():
        raise scanner.fault("this is too much", "put && or || between two expressions")
    return found


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Tell whether a selector, already known to be well written, selects what has these labels."""
    return parse(selector).matches(labels)


def calls(found: Expression, kind: type[Expression]) -> bool:
    """Tell whether an expression of this kind is a part of another."""
    if isinstance(found, kind):
        return True
    if isinstance(found, Negation):
        return calls(found.inner, kind)
    return isinstance(found, AllOf | AnyOf) and any(calls(part, kind) for part in found.parts)


class _Scanner:
    """A text and how far it is read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def ended(self) -> bool:
        """Skip what is blank, and tell whether nothing follows."""
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1
        return self.at == len(self.text)

    def take(self, mark: str) -> bool:
        """Read a mark if it follows."""
        self.ended()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what follows if it is of this form."""
        self.ended()
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def follows(self, mark: str) -> bool:
        """Tell whether a mark is next, and leave it."""
        self.ended()
        return self.text.startswith(mark, self.at)

    def until(self, quote: str) -> str | None:
        """Read up to a quote and over it, None = there is none."""
        end = self.text.find(quote, self.at)
        if end < 0:
            return None
        found = self.text[self.at : end]
        self.at = end + 1
        return found

    def fault(self, message: str, hint: str) -> BadSelectorError:
        """Return the error that says the text is wrong here."""
        return BadSelectorError(self.at + 1, message, hint)


def _either(scanner: _Scanner, depth: int) -> Expression:
    """Read expressions with ``||`` between them."""
    parts = [_both(scanner, depth)]
    while scanner.take("||"):
        parts.append(_both(scanner, depth))
    return AnyOf(tuple(parts)) if len(parts) > 1 else parts[0]


def _both(scanner: _Scanner, depth: int) -> Expression:
    """Read expressions with ``&&`` between them, which bind closer."""
    parts = [_one(scanner, depth)]
    while scanner.take("&&"):
        parts.append(_one(scanner, depth))
    return AllOf(tuple(parts)) if len(parts) > 1 else parts[0]


def _one(scanner: _Scanner, depth: int) -> Expression:
    """Read one comparison, call or parenthesis, with any ``!`` before it."""
    negated = False
    while scanner.take("!"):
        negated = not negated
    found = _plain(scanner, depth)
    return Negation(found) if negated else found


def _plain(scanner: _Scanner, depth: int) -> Expression:
    if scanner.take("("):
        if depth == DEPTH_MAX:
            raise scanner.fault("parentheses are nested too deeply", f"use at most {DEPTH_MAX}")
        found = _either(scanner, depth + 1)
        if not scanner.take(")"):
            raise scanner.fault("a parenthesis is not closed", "write )")
        return found
    if call := scanner.match(_CALL):
        return _called(scanner, call[1])
    if label := scanner.match(_LABEL):
        return _compared(scanner, label[0])
    hint = "write something like role == 'compute', has(role) or all()"
    raise scanner.fault("an expression is missing", hint)


def _called(scanner: _Scanner, name: str) -> Expression:
    found: Expression = Everything() if name == "all" else Outside()
    if name == "has":
        label = scanner.match(_LABEL)
        if label is None:
            raise scanner.fault("has() names no label", "write has(role)")
        found = Has(label[0])
    if not scanner.take(")"):
        raise scanner.fault(f"{name}( is not closed", "write )")
    return found


def _compared(scanner: _Scanner, label: str) -> Expression:
    operator = scanner.match(_OPERATOR)
    if operator is None:
        raise scanner.fault(f"no operator after {label}", _operator_hint(scanner))
    word = _WORDS[re.sub(r"[ \t]", "", operator[0])]
    if word not in (Word.IN, Word.NOT_IN):
        return Compare(label, word, (_text(scanner),))
    if not scanner.take("{"):
        raise scanner.fault("no set", f"write {label} {word} {{'a', 'b'}}")
    texts: list[str] = []
    while not scanner.take("}"):
        texts.append(_text(scanner))
        if not scanner.take(",") and not scanner.follows("}"):
            raise scanner.fault("a set is not closed", "write }")
    return Compare(label, word, tuple(texts))


def _operator_hint(scanner: _Scanner) -> str:
    if scanner.follows("="):
        return "write == for equal"
    if scanner.follows("("):
        return "known here: has(label), all(), global()"
    return f"use {listed(tuple(Word))}"


def _text(scanner: _Scanner) -> str:
    """Read a text between quotes; there are no escapes."""
    for quote in ("'", '"'):
        if scanner.take(quote):
            found = scanner.until(quote)
            if found is None:
                raise scanner.fault("a text is not closed", f"write {quote} after it")
            return found
    raise scanner.fault("no text between quotes", "write 'compute', with the quotes")
