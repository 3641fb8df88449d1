"""Classes of characters in a regular expression, with Go's meanings: digits, words and `[[:alpha:]]` are ASCII."""

from __future__ import annotations

import unicodedata

import msgspec


class CharClass(msgspec.Struct, frozen=True):
    """The characters in any of `ranges` (code points, both ends included), `classes` or `category`; or all but those.

    With `fold`, letters that differ only in case are equal (Unicode's simple folding).
    """

    ranges: tuple[tuple[int, int], ...] = ()
    classes: tuple[CharClass, ...] = ()
    category: str = ""
    negated: bool = False
    fold: bool = False

    def has(self, char: str) -> bool:
        """Whether the class contains a character."""
        variants = _variants(char) if self.fold else (char,)
        return any(self._has(variant) for variant in variants) != self.negated

    def _has(self, char: str) -> bool:
        code = ord(char)
        return (
            any(low <= code <= high for low, high in self.ranges)
            or any(inner.has(char) for inner in self.classes)
            or (self.category != "" and unicodedata.category(char).startswith(self.category))
        )

    def folded(self, fold: bool) -> CharClass:
        """The same class, with or without regard to case."""
        return msgspec.structs.replace(self, fold=fold) if fold else self

    def literal(self) -> str | None:
        """The one character that the class stands for, if it is that simple."""
        if self.fold or self.negated or self.classes or self.category or len(self.ranges) != 1:
            return None
        low, high = self.ranges[0]
        return chr(low) if low == high else None


# Letters whose simple folding leaves their alphabet: the Kelvin sign, the long s and the Angstrom sign.
_FAR = {"k": "\u212a", "s": "\u017f", "å": "\u212b"}


def _variants(char: str) -> tuple[str, ...]:
    lower = char.casefold() if len(char.casefold()) == 1 else char.lower()
    spellings = {char, lower, lower.upper(), char.upper(), _FAR.get(lower, char)}
    return tuple(spelling for spelling in spellings if len(spelling) == 1)


def category_class(name: str, *, negated: bool) -> CharClass | None:
    """A Unicode general category such as `L` or `Nd`; None for anything else, scripts among them."""
    if name == "Any":
        return CharClass(((0, 0x10FFFF),), negated=negated)
    if name in _CATEGORIES:
        return CharClass(category=name, negated=negated)
    return None


_CATEGORIES = frozenset(
    {
        "C",
        "Cc",
        "Cf",
        "Co",
        "Cs",
        "L",
        "Ll",
        "Lm",
        "Lo",
        "Lt",
        "Lu",
        "M",
        "Mc",
        "Me",
        "Mn",
        "N",
        "Nd",
        "Nl",
        "No",
        "P",
        "Pc",
        "Pd",
        "Pe",
        "Pf",
        "Pi",
        "Po",
        "Ps",
        "S",
        "Sc",
        "Sk",
        "Sm",
        "So",
        "Z",
        "Zl",
        "Zp",
        "Zs",
    }
)

ANY = CharClass(((0, 0x10FFFF),))
NOT_NEWLINE = CharClass(((10, 10),), negated=True)


def _spelled(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((ord(part[0]), ord(part[-1])) for part in text.split("/"))


_DIGIT, _SPACE, _WORD = _spelled("0-9"), ((9, 10), (12, 13), (32, 32)), _spelled("0-9/A-Z/_/a-z")

PERL = {
    f"\\{letter.upper() if negated else letter}": CharClass(ranges, negated=negated)
    for letter, ranges in (("d", _DIGIT), ("s", _SPACE), ("w", _WORD))
    for negated in (False, True)
}

NAMED = {
    f"[:{'^' if negated else ''}{name}:]": CharClass(ranges, negated=negated)
    for name, ranges in {
        "alnum": _spelled("0-9/A-Z/a-z"),
        "alpha": _spelled("A-Z/a-z"),
        "ascii": ((0, 127),),
        "blank": ((9, 9), (32, 32)),
        "cntrl": ((0, 31), (127, 127)),
        "digit": _DIGIT,
        "graph": ((33, 126),),
        "lower": _spelled("a-z"),
        "print": ((32, 126),),
        "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
        "space": ((9, 13), (32, 32)),
        "upper": _spelled("A-Z"),
        "word": _WORD,
        "xdigit": _spelled("0-9/A-F/a-f"),
    }.items()
    for negated in (False, True)
}
