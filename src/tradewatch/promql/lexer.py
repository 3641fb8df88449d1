"""Text to tokens, as Prometheus cuts it: the same tokens, and the same place for an error.

A token is produced when the parser asks for it, so that of two errors the one further left is reported.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tradewatch.promql.errors import ParseError
from tradewatch.promql.labels import quote
from tradewatch.promql.span import Span

AGGREGATORS: Final = frozenset(
    {
        "sum",
        "avg",
        "count",
        "min",
        "max",
        "group",
        "stddev",
        "stdvar",
        "topk",
        "bottomk",
        "count_values",
        "quantile",
        "limitk",
        "limit_ratio",
    }
)
DURATION_WORDS: Final = frozenset({"step", "range", "max_of", "min_of"})
KEYWORDS: Final = (
    AGGREGATORS
    | DURATION_WORDS
    | frozenset(
        {
            "and",
            "or",
            "unless",
            "atan2",
            "offset",
            "smoothed",
            "anchored",
            "by",
            "without",
            "on",
            "ignoring",
            "group_left",
            "group_right",
        }
    )
    | frozenset({"fill", "fill_left", "fill_right", "bool", "start", "end"})
)
FILLS: Final = frozenset({"fill", "fill_left", "fill_right"})


class Token(NamedTuple):
    """`kind` is the text itself for operators and brackets, the lower-case word for keywords, else upper case.

    IDENTIFIER, METRIC (an identifier with a colon), NUMBER, DURATION, STRING (with its quotes) or EOF.
    """

    kind: str
    start: int
    end: int
    text: str

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)

    def __str__(self) -> str:
        if self.kind == "EOF":
            return "end of input"
        if self.kind in AGGREGATORS:
            return f"<aggr:{self.text}>"
        if self.kind in _WORD_OPERATORS or _OPERATORS.fullmatch(self.kind):
            return quote(self.text) if self.kind == "=" else f"<op:{self.text}>"
        if self.kind in KEYWORDS - DURATION_WORDS - {"start", "end"}:
            return f"<{self.text}>"
        named = _KIND_NAMES.get(self.kind, "")
        if len(self.text) > 10 and self.kind not in {"IDENTIFIER", "METRIC"}:
            return named + quote(self.text[:10]) + "..."
        return named + quote(self.text)


_KIND_NAMES = {
    "IDENTIFIER": "identifier ",
    "METRIC": "metric identifier ",
    "STRING": "string ",
    "NUMBER": "number ",
    "DURATION": "duration ",
}
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})

_SPACE = re.compile(r"[ \t\n\r]*")
_COMMENT = re.compile(r"#[^\r\n]*")
_WORD = re.compile(r"[A-Za-z0-9_]*")
_METRIC_WORD = re.compile(r"[A-Za-z0-9_:]*")
_LETTERS = re.compile(r"[A-Za-z_]*")
_OPERATORS = re.compile(r"==|!=|<=|>=|</|>/|[-,*/%+^=<>@]")
_BRACE_OPERATORS = re.compile(r"=~|!~|!=|=|,")
_DURATION_REST = re.compile(r"[smhdwy]s?(?:[0-9]+[smhdw]s?)*(?![A-Za-z0-9_])")
_STRING_RUN = {'"': re.compile(r'[^"\\\n\ufffd\ud800-\udfff]*'), "'": re.compile(r"[^'\\\n\ufffd\ud800-\udfff]*")}
_RAW_RUN = re.compile(r"[^`\ufffd\ud800-\udfff]*")
_ESCAPE_DIGITS = {"x": (2, 16, 255), "u": (4, 16, 0x10FFFF), "U": (8, 16, 0x10FFFF)}


class Lexer:
    """Cuts one text into tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._parens = 0
        self._in_braces = False
        self._in_brackets = False
        # Between `[` and the first number, the words and operators of a duration are expected.
        self._in_duration = False
        self._colon_seen = False
        self._duration_seen = False

    def next(self) -> Token:
        """The next token; EOF again and again at the end.

        Raises:
            ParseError: at what cannot be a token.
        """
        text = self._text
        while True:
            at = self._skip(_SPACE)
            if not text.startswith("#", at) or self._in_duration:
                break
            self._skip(_COMMENT)
        char = text[at : at + 1]
        if self._in_braces:
            return self._inside_braces(char)
        if self._in_duration:
            return self._inside_duration(char)
        return self._plain(char)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _token(self, kind: str, end: int) -> Token:
        start, self._at = self._at, end
        return Token(kind, start, end, self._text[start:end])

    def _error(self, message: str, *, after: int = 0) -> ParseError:
        """A lexical error: from the token that could not be read (or `after` it) to the end of the text."""
        return ParseError(message, Span(self._at + after, len(self._text)), self._text)

    def _plain(self, char: str) -> Token:
        text, at = self._text, self._at
        if not char:
            if self._parens:
                raise self._error("unclosed left parenthesis")
            if self._in_brackets:
                raise self._error("unclosed left bracket")
            return self._token("EOF", at)
        if _is_digit(char) or (char == "." and _is_digit(text[at + 1 : at + 2])):
            return self._number()
        if _is_letter(char) or char == ":":
            return self._bracketed_word(char) if self._in_brackets else self._word()
        if found := _OPERATORS.match(text, at):
            if text.startswith("=~", at):
                raise self._error("unexpected character after '=': '~'")
            return self._token(found.group(), found.end())
        match char:
            case "(" | ")":
                return self._paren(char)
            case "{":
                self._in_braces = True
                return self._token("{", at + 1)
            case "[":
                return self._open_bracket()
            case "]":
                if not self._in_brackets:
                    raise self._error("unexpected right bracket ']'")
                self._in_brackets = False
                return self._token("]", at + 1)
            case '"' | "'" | "`":
                return self._string(char)
            case "!":
                raise self._error(f"unexpected character after '!': {_shown(text[at + 1 : at + 2])}")
        raise self._error(f"unexpected character: {_shown(char)}")

    def _paren(self, char: str) -> Token:
        if char == ")" and self._parens == 0:
            raise self._error("unexpected right parenthesis ')'", after=1)
        self._parens += 1 if char == "(" else -1
        return self._token(char, self._at + 1)

    def _open_bracket(self) -> Token:
        if self._in_brackets:
            raise self._error("unexpected left bracket '['")
        self._in_brackets = self._in_duration = True
        self._colon_seen = False
        return self._token("[", self._at + 1)

    def _word(self) -> Token:
        found = _METRIC_WORD.match(self._text, self._at)
        end = found.end() if found else self._at
        word = self._text[self._at : end].lower()
        if word in {"inf", "nan"}:
            return self._token("NUMBER", end)
        if word in FILLS and not self._text[end:].lstrip(" \t\n\r").startswith("("):
            return self._token("IDENTIFIER", end)
        if word in KEYWORDS:
            return self._token(word, end)
        return self._token("METRIC" if ":" in word else "IDENTIFIER", end)

    def _bracketed_word(self, char: str) -> Token:
        if char == ":":
            if self._colon_seen:
                raise self._error("unexpected colon ':'")
            self._colon_seen = True
            return self._token(":", self._at + 1)
        word = self._duration_word()
        if word is None:
            raise self._error(f"unexpected character: {_shown(char)}, expected ':'")
        return word

    def _duration_word(self) -> Token | None:
        found = _LETTERS.match(self._text, self._at)
        end = found.end() if found else self._at
        word = self._text[self._at : end].lower()
        return self._token(word, end) if word in DURATION_WORDS else None

    def _inside_duration(self, char: str) -> Token:
        text, at = self._text, self._at
        if not char:
            raise self._error("unexpected end of input in duration expression")
        if _is_digit(char) or (char == "." and _is_digit(text[at + 1 : at + 2])):
            self._in_duration, self._duration_seen = False, True
            return self._number()
        if char in "()":
            return self._paren(char)
        if char == ":":
            if not self._duration_seen:
                raise self._error("unexpected colon before duration in duration expression", after=1)
            if self._colon_seen:
                raise self._error("unexpected repeated colon in duration expression", after=1)
            self._colon_seen = True
            return self._token(":", at + 1)
        if char == "]":
            self._in_duration = self._in_brackets = self._colon_seen = False
            return self._token("]", at + 1)
        if char in "+-*/%^,":
            return self._token(char, at + 1)
        word = self._duration_word() if _is_letter(char) else None
        if word is None:
            raise self._error(f"unexpected character in duration expression: {_shown(char)}")
        return word

    def _inside_braces(self, char: str) -> Token:
        text, at = self._text, self._at
        if not char:
            raise self._error("unexpected end of input inside braces")
        if _is_letter(char):
            found = _WORD.match(text, at)
            return self._token("IDENTIFIER", found.end() if found else at + 1)
        if found := _BRACE_OPERATORS.match(text, at):
            return self._token(found.group(), found.end())
        match char:
            case '"' | "'" | "`":
                return self._string(char)
            case "}":
                self._in_braces = False
                return self._token("}", at + 1)
            case "{":
                raise self._error("unexpected left brace '{'")
            case "!":
                raise self._error(f"unexpected character after '!' inside braces: {_shown(text[at + 1 : at + 2])}")
        raise self._error(f"unexpected character inside braces: {_shown(char)}")

    def _number(self) -> Token:
        end, is_number = scan_number(self._text, self._at)
        if is_number:
            return self._token("NUMBER", end)
        rest = _DURATION_REST.match(self._text, end)
        if rest:
            return self._token("DURATION", rest.end())
        raise self._error(f"bad number or duration syntax: {quote(self._text[self._at : end])}")

    def _string(self, quotes: str) -> Token:
        text, at = self._text, self._at + 1
        run = _RAW_RUN if quotes == "`" else _STRING_RUN[quotes]
        while True:
            found = run.match(text, at)
            at = found.end() if found else at
            char = text[at : at + 1]
            if char == quotes:
                return self._token("STRING", at + 1)
            if char == "\\":
                at = self._after_escape(at + 1, quotes)
            elif char in {"", "\n"}:
                raise self._error("unterminated raw string" if quotes == "`" else "unterminated quoted string")
            else:
                raise self._error("invalid UTF-8 rune")

    def _after_escape(self, at: int, quotes: str) -> int:
        text = self._text
        char = text[at : at + 1]
        if not char:
            raise self._error("escape sequence not terminated")
        if char in "abfnrtv\\" or char == quotes:
            return at + 1
        if char in "01234567":
            count, radix, most = 3, 8, 255
        elif char in _ESCAPE_DIGITS:
            count, radix, most = _ESCAPE_DIGITS[char]
            at += 1
        else:
            raise self._error(f"unknown escape sequence U+{ord(char):04X} {_shown(char)}")
        code = 0
        for _ in range(count):
            digit = "0123456789abcdef".find(text[at : at + 1].lower() or "?")
            if digit < 0 or digit >= radix:
                raise self._error(
                    "illegal character in escape sequence" if text[at:] else "escape sequence not terminated"
                )
            code = code * radix + digit
            at += 1
        if code > most or 0xD800 <= code < 0xE000:
            raise self._error("escape sequence is an invalid Unicode code point")
        return at


def scan_number(text: str, at: int) -> tuple[int, bool]:
    """Where a number that starts at `at` ends, and whether it is one.

    What is scanned may still turn out not to be a number (`0x` or `1e5_`): the value is the parser's to judge.
    """
    digits = "0123456789"
    if text[at : at + 2] in {"0x", "0X"}:
        digits += "abcdefABCDEF"
        at += 3 if text[at + 2 : at + 3] == "_" else 2
    elif text.startswith("0", at):
        at += 1
    at += text.startswith(".", at)
    dot_seen = exponent_seen = False
    while (char := text[at : at + 1]) and (char in digits or char in "._eE"):
        at += 1
        following = text[at : at + 1]
        if char == ".":
            if dot_seen or (following and following in "_.") or len(digits) > 10:
                return at + (not dot_seen and following != "" and following in "_."), False
            dot_seen = True
        elif char in "eE":
            if exponent_seen:
                return at, False
            exponent_seen = True
            at += following != "" and following in "+-"
            following = text[at : at + 1]
            if not following or following in "._eE":
                return at + len(following), False
        elif char == "_" and (not following or following in "._eE"):
            return at + len(following), False
    following = text[at : at + 1]
    return at, not (following and (_is_letter(following) or _is_digit(following)))


def _is_digit(char: str) -> bool:
    return char != "" and char in "0123456789"


def _is_letter(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalpha())


def _shown(char: str) -> str:
    return f"'{char}'" if char else "'\\ufffd'"
