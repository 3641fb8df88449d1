"""The scrubber: known secrets go wherever they stand, and so does what has the shape of one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch.runtime.scrub import MASK, Scrubber

TEXT = st.text(max_size=60)
SECRET = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEF0123456789", min_size=8, max_size=64)


@given(TEXT, SECRET, TEXT)
def test_a_known_secret_never_survives(before, secret, after):
    scrubber = Scrubber()
    scrubber.learn([secret])
    assert secret not in scrubber.text(before + secret + after)
    assert secret not in scrubber.value(before + secret + after)


def test_a_secret_that_holds_another_goes_as_a_whole():
    scrubber = Scrubber()
    scrubber.learn(["abcdef", "abcdefghij"])
    assert scrubber.value("x abcdefghij y") == "x *** y"


def test_what_is_too_short_or_no_text_is_not_learned():
    scrubber = Scrubber()
    scrubber.learn(["BTC", None, 7, ""])
    assert scrubber.text("BTC 7") == "BTC 7"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("https://a/b?symbol=X&signature=0a1b2c", "https://a/b?symbol=X&signature=***"),
        ("{'X-MBX-APIKEY': 'k3y', 'a': 1}", "{'X-MBX-APIKEY': '***', 'a': 1}"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ('{"apiKey":"k","price":"1"}', '{"apiKey":"***","price":"1"}'),
        ("API-Sign=c2lnbg== API-Key=a2V5", "API-Sign=*** API-Key=***"),
        ("http://user:pass@host/x", "http://***@host/x"),
        ("BTC/USDT:USDT at 23000.1", "BTC/USDT:USDT at 23000.1"),
    ],
)
def test_shapes_of_secrets_are_known(text, scrubbed):
    assert Scrubber().text(text) == scrubbed


@pytest.mark.parametrize("piece", ["x", "secret", "api-", "bearer ", "://a:", "token=", '"key": '])
def test_a_long_word_takes_no_longer_than_any_text(piece):
    """By comparison, not by the clock: an answer's body stands in exceptions, and the bot waits for the scrubber."""

    def cost(text):
        costs = []
        for _ in range(3):
            began = time.thread_time_ns()
            Scrubber().text(text)
            costs.append(time.thread_time_ns() - began)
        return min(costs)

    length = 600
    assert cost((piece * length)[:length]) < 20 * cost(("<b>any</b> " * length)[:length])


def test_a_key_of_several_lines_is_known_by_each_line_and_quoted():
    scrubber = Scrubber()
    scrubber.learn(
        ["-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIE/Ab+9x==\n-----END PRIVATE KEY-----", "a+secret/with=signs"]
    )
    assert scrubber.text("MC4CAQAwBQYDK2VwBCIE/Ab+9x==") == MASK
    assert scrubber.text("at a%2Bsecret%2Fwith%3Dsigns now") == f"at {MASK} now"
