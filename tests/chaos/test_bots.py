"""Bots as nobody would write them: the search for clients runs none of their code, ends soon, and finds them."""

import collections
import functools
import threading
import types

import ccxt
import pytest

import tradewatch
from tradewatch.instrumentation.ccxt import is_client
from tradewatch.instrumentation.discovery import NODES, search


@pytest.fixture(scope="module")
def client():
    made = ccxt.binance()
    yield made
    made.session.close()


class Touched(BaseException):
    """Code of the bot ran: a BaseException, so that nothing swallows it."""


def touch(*args, **kwargs):
    raise Touched


class Meta(type):
    """A metaclass that defends itself."""

    __instancecheck__ = __subclasscheck__ = __call__ = __iter__ = __len__ = touch

    def __getattribute__(cls, name):
        raise Touched

    @property
    def __mro__(cls):
        raise Touched

    @property
    def __dict__(cls):
        raise Touched


def hostile(**own):
    """An object of which every special method and attribute access fails the test."""
    names = [
        "__getattribute__",
        "__getattr__",
        "__eq__",
        "__ne__",
        "__lt__",
        "__hash__",
        "__len__",
        "__bool__",
        "__iter__",
        "__contains__",
        "__getitem__",
        "__repr__",
        "__str__",
        "__format__",
        "__dir__",
        "__call__",
        "__copy__",
        "__deepcopy__",
        "__reduce__",
        "__index__",
        "__enter__",
    ]
    body = dict.fromkeys(names, touch)
    made = type("Hostile", (), body)
    thing = object.__new__(made)
    for name, value in own.items():
        object.__setattr__(thing, name, value)
    return thing


def found(bot):
    return [f.path for f in search(bot, is_client).found]


class WithProperties:
    def __init__(self, client):
        self.exchange = client

    raising = property(touch)

    @property
    def blocking(self):
        while True:
            pass

    @functools.cached_property
    def cached(self):
        raise Touched

    @property
    def itself(self):
        return self.itself


class WithSlots:
    __slots__ = ("__weakref__", "exchange", "unset")


class SlotsBelow(WithSlots):
    __slots__ = ("other",)


class Infinite:
    def __getattr__(self, name):
        return Infinite()


class LyingClass:
    @property
    def __class__(self):
        raise Touched


class LyingDict:
    @property
    def __dict__(self):
        raise Touched


class LyingDictValue:
    __dict__ = {"exchange": 1}


class OwnList(list):
    __iter__ = __len__ = __getitem__ = __eq__ = touch


class OwnDict(dict):
    __iter__ = __len__ = __getitem__ = keys = items = values = get = touch


class OwnStr(str):
    __hash__ = str.__hash__
    __eq__ = __str__ = __repr__ = __format__ = __add__ = __radd__ = touch


def guarded_class():
    """Made when asked for: pytest itself looks at the classes of a module."""
    return type.__call__(Meta, "GuardedClass", (), {})


class Descriptor:
    def __get__(self, instance, owner):
        raise Touched


class WithDescriptor:
    feed = Descriptor()


def test_properties_are_never_called(client):
    assert found(WithProperties(client)) == ["bot.exchange"]


def test_slots_are_read_and_unset_ones_passed_over(client):
    bot = SlotsBelow()
    bot.exchange = client
    assert found(bot) == ["bot.exchange"]


def test_an_object_that_makes_objects_is_not_followed():
    assert found(Infinite()) == []


@pytest.mark.parametrize("make", [lambda: LyingClass, lambda: WithDescriptor, guarded_class])
def test_a_class_that_lies_is_read_past(client, make):
    bot = type.__call__(make())
    object.__setattr__(bot, "exchange", client)
    assert found(bot) == ["bot.exchange"]


@pytest.mark.parametrize("kind", [LyingDict, LyingDictValue])
def test_a_dictionary_that_lies_is_not_asked(kind):
    assert search(kind(), is_client).cut_short is False


def test_no_special_method_of_any_object_is_called(client):
    bot = types.SimpleNamespace(a=hostile(), b=[hostile(x=hostile(client=client))], c={"k": hostile()})
    assert found(bot) == ["bot.b[0].x.client"]
    assert found(hostile(exchange=client)) == ["bot.exchange"]


def test_containers_of_the_bots_own_kind_are_read_as_what_they_are(client):
    bot = types.SimpleNamespace(l=OwnList([client]), d=OwnDict(x=1))
    assert found(bot) == ["bot.l[0]"]
    assert found(types.SimpleNamespace(d=OwnDict(x=client))) == ["bot.d['x']"]


def test_keys_that_are_hostile_are_named_by_their_type(client):
    key = OwnStr("k")
    assert found(types.SimpleNamespace(d={key: client})) == ["bot.d[<OwnStr>]"]
    assert found(types.SimpleNamespace(d={(1, 2): client, None: 1})) == ["bot.d[<tuple>]"]


def test_cycles_end(client):
    bot = types.SimpleNamespace(items=[])
    bot.items.append(bot.items)
    bot.itself = bot
    bot.items.append({"bot": bot, "exchange": client})
    assert found(bot) == ["bot.items[1]['exchange']"]


def test_a_hundred_thousand_items_cost_no_more_than_sixty_four(client):
    bot = types.SimpleNamespace(history=list(range(100_000)), candles=[[1.0] * 6] * 100_000, exchange=client)
    made = search(bot, is_client)
    assert [f.path for f in made.found] == ["bot.exchange"]
    assert made.looked_at < 100
    deep = types.SimpleNamespace(rows=[[[object() for _ in range(100)] for _ in range(100)] for _ in range(100)])
    assert search(deep, is_client).looked_at == NODES
    assert search(deep, is_client).cut_short is True


def test_the_places_that_bots_keep_clients_in_are_all_found(client):
    partial = functools.partial(client.create_order, "BTC/USDT")
    for name, value, path in (
        ("exchange", client, "bot.exchange"),
        ("_client", client, "bot._client"),
        ("exchanges", {"binance": {"instance": client}}, "bot.exchanges['binance']['instance']"),
        ("clients", (client,), "bot.clients[0]"),
        ("clients", {client}, "bot.clients{...}"),
        ("queue", collections.deque([client]), "bot.queue{...}"),
        ("broker", types.SimpleNamespace(client=client), "bot.broker.client"),
        ("send", client.create_order, "bot.send.__self__"),
        ("send", partial, "bot.send.func.__self__"),
        ("ordered", collections.OrderedDict(a=client), "bot.ordered['a']"),
        ("by_default", collections.defaultdict(list, a=[client]), "bot.by_default['a'][0]"),
        ("pair", collections.namedtuple("Pair", "client n")(client, 1), "bot.pair[0]"),
        ("view", types.MappingProxyType({"a": client}), "bot.view['a']"),
    ):
        assert found(types.SimpleNamespace(**{name: value})) == [path], name


def test_a_client_a_class_and_a_module_are_told_apart(client):
    assert found(client) == ["bot"]
    assert found([client]) == ["bot[0]"]
    assert found(ccxt.binance) == []
    module = types.ModuleType("strategy")
    module.exchange = client
    assert found(module) == ["bot.exchange"]

    class Bot:
        shared = client

    assert found(Bot()) == ["bot.shared"]
    assert found(Bot) == ["bot.shared"]


def test_a_dictionary_that_grows_while_it_is_read_does_no_harm(client):
    bot = types.SimpleNamespace(prices={}, exchange=client)
    ending = threading.Event()

    def grow():
        n = 0
        while not ending.is_set():
            bot.prices[n] = n
            setattr(bot, f"x{n % 500}", n)
            n += 1
            if n % 1000 == 0:
                bot.prices.clear()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(100):
            assert found(bot) == ["bot.exchange"]
    finally:
        ending.set()
        thread.join()


STRANGE = {
    "none": lambda: None,
    "number": lambda: 42,
    "text": lambda: "bot",
    "bytes": lambda: b"",
    "tuple": lambda: (),
    "dict": dict,
    "object": object,
    "infinite": Infinite,
    "lying": LyingClass,
    "hostile": hostile,
    "builtin": lambda: len,
    "class": lambda: int,
    "guarded": lambda: type.__call__(guarded_class()),
    "guarded class": guarded_class,
    "numbered": lambda: types.SimpleNamespace(__name__=5),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_anything_can_be_watched_and_says_that_it_has_no_client(kind, watch_over, application):
    bot = STRANGE[kind]()
    watch = watch_over(bot, name="any", **application.settings)
    [note] = watch.status().notes
    assert note.startswith("no exchange client found on the bot")
    assert watch.status().clients == ()
    assert watch.halt("news").state == "HALTED"
    tradewatch.uninstrument(bot)


@pytest.mark.parametrize("kind", STRANGE)
def test_a_bot_is_named_without_asking_it(kind, watch_over, application):
    bot = STRANGE[kind]()
    watch = watch_over(bot, **application.settings)
    assert type(watch.name) is str
    tradewatch.uninstrument(bot)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "..."}, "name '...'; accepted: a text with a letter or a digit"),
        ({"name": ""}, "name ''; accepted: a text with a letter or a digit"),
        ({"limits": {"dayly_loss": 0.1}}, "daily_loss"),
        ({"limits": {"daily_loss": float("nan")}}, "daily_loss"),
        ({"limits": {"daily_loss": -1}}, "daily_loss"),
        ({"limits": {"daily_loss": "3%"}}, "daily_loss"),
        ({"port": 70_000}, "port"),
        ({"port": -1}, "port"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_nothing_is_left_behind(
    client, make_bot, watch_over, tmp_path, settings, said
):
    bot = make_bot(client)
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match=said):
        watch_over(bot, **settings)
    assert "_tradewatch" not in vars(client)
    assert set(threading.enumerate()) == before
    assert watch_over(bot).status().state_folder == str(tmp_path / "state")


def test_a_broken_rule_file_is_refused_with_line_and_column(client, make_bot, watch_over, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "groups:\n"
        "  - name: mine\n"
        "    rules:\n"
        "      - alert: Lost\n"
        "        expr: sum(rate(trading_orders_total[5m]) > \n"
        "      - alert: Odd\n"
        "        expr: histogram_quantil(0.9, x)\n"
        "        fro: 5m\n"
    )
    before = set(threading.enumerate())
    with pytest.raises(tradewatch.RuleFileError) as caught:
        watch_over(make_bot(client), rules=[rules])
    said = str(caught.value)
    assert f"{rules}:5:" in said
    assert f"{rules}:8:9: unknown key 'fro' in a rule" in said
    assert "accepted: alert, expr, for, labels, annotations" in said
    assert set(threading.enumerate()) == before
    assert "_tradewatch" not in vars(client)


def test_a_rule_file_that_is_not_there_is_refused(client, make_bot, watch_over, tmp_path):
    with pytest.raises((tradewatch.RuleFileError, OSError), match=r"none\.yaml"):
        watch_over(make_bot(client), rules=[tmp_path / "none.yaml"])


def test_rules_of_ones_own_that_halt_nothing_are_said_to(blocking, make_bot, watch_over, tmp_path):
    rules = tmp_path / "mine.yaml"
    rules.write_text("groups: [{name: mine, rules: [{alert: Mine, expr: 'trading_pnl_daily < -5'}]}]")
    watch = watch_over(make_bot(blocking.ccxt.binance()), rules=[rules])
    assert "no rule has the annotation 'action: halt': only a person halts this bot" in watch.status().notes
    assert repr(watch) == "<Watch 'Bot': ACTIVE, 1 clients>"


def test_rules_that_are_no_list_are_an_error_that_shows_one(make_bot, watch_over):
    with pytest.raises(ValueError, match=r"rules 'mine.yaml'; accepted: a list of files, such as \['mine.yaml'\]"):
        watch_over(make_bot(), rules="mine.yaml")
