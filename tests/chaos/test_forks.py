"""Workers that a watched bot forks, and SIGTERM once nothing is watched: they end as they would without tradewatch."""

import signal
import textwrap

FORKED = """
import signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork beside threads

def forked(work):
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def test_a_forked_worker_ends_by_sigterm_without_a_word(run):
    body = """
    reading, writing = os.pipe()
    child = forked(lambda: (os.write(writing, str(signal.getsignal(signal.SIGTERM)).encode()), time.sleep(60)))
    say(child=os.read(reading, 100).decode())
    os.kill(child, signal.SIGTERM)
    say(ended=ended(child), handler=getattr(signal.getsignal(signal.SIGTERM), "__name__", None))
    """
    process = run(FORKED + textwrap.dedent(body))
    assert process.heard() == {"child": str(signal.SIG_DFL)}
    assert process.heard() == {"ended": -signal.SIGTERM, "handler": "_on_sigterm"}
    assert (process.wait(20), process.stderr.read()) == (0, "")


def test_a_forked_worker_that_exits_leaves_the_parents_record_alone(venue, run):
    body = """
    child = forked(lambda: tradewatch.shutdown())
    other = forked(lambda: None)
    say(ended=[ended(child), ended(other)])
    time.sleep(60)
    """
    first = run(FORKED + textwrap.dedent(body))
    assert first.heard() == {"ended": [0, 0]}
    first.kill()
    first.wait()
    assert first.stderr.read() == ""
    assert "without closing" in run("say(note=watch.status().breaker.note)").heard()["note"]


def test_a_forked_worker_of_a_halted_bot_sends_no_order_until_it_is_let_go(venue, run):
    place = venue()
    body = """
    watch.halt("news")

    def work():
        for _ in range(2):
            try:
                say(sent=bot.exchange.create_order("BTC/USDT", "market", "buy", 1)["status"])
            except ccxt.InvalidOrder as error:
                say(refused="news" in str(error))
            tradewatch.uninstrument(bot)

    ended(forked(work))
    say(state=watch.status().breaker.state, alive=watch.status().safety_alive)
    """
    process = run(FORKED + textwrap.dedent(body), place.url)
    said = [process.heard() for _ in range(3)]
    assert said == [{"refused": True}, {"sent": "closed"}, {"state": "HALTED", "alive": True}]
    assert (process.wait(20), process.stderr.read()) == (0, "")


def test_a_forked_worker_may_be_watched_under_a_name_of_its_own(venue, run):
    place = venue()
    body = """
    def work():
        mine = tradewatch.instrument(bot, state_dir=state + "-worker", port=0)
        bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
        mine.halt("mine")
        try:
            bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
        except ccxt.InvalidOrder:
            tradewatch.shutdown()
            say(orders=mine.status().orders)

    ended(forked(work))
    say(state=watch.status().breaker.state)
    """
    process = run(FORKED + textwrap.dedent(body), place.url)
    assert [process.heard(), process.heard()] == [{"orders": {"filled": 1, "refused": 1}}, {"state": "ACTIVE"}]
    assert (process.wait(20), process.stderr.read()) == (0, "")


def test_sigterm_is_the_systems_again_once_nothing_is_watched(run):
    body = """
    import signal
    before = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    watch = tradewatch.instrument(bot, state_dir=state, port=0)
    during = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    tradewatch.uninstrument(bot)
    after = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    watch = tradewatch.instrument(bot, state_dir=state, port=0)
    mine = lambda *a: None
    signal.signal(signal.SIGTERM, mine)
    tradewatch.uninstrument(bot)
    say(states=[before, during, after], kept=signal.getsignal(signal.SIGTERM) is mine)
    """
    assert run(body, watched=False).heard() == {"states": [True, False, True], "kept": True}
