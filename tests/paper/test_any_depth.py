"""Whatever is ordered on books of any depth: money and orders add up, and nothing depends on when anybody asks."""

from collections import defaultdict

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tradewatch import paper
from tradewatch.paper.accounts import Account
from tradewatch.paper.admission import reserved
from tradewatch.paper.candles import read_candles
from tradewatch.paper.errors import Refusal
from tradewatch.paper.feed import BalancesChanged, OrderChanged, Printed
from tradewatch.paper.fees import Fees, ThirdCurrency
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.perpetual.values import NewConditional, Terms
from tradewatch.paper.perpetual.values import NewOrder as NewContractOrder
from tradewatch.paper.tape import tape
from tradewatch.paper.units import ONE, parse

START_NS = 1_677_801_600 * 10**9
SECOND = 10**9
SYMBOL = "BTCUSDT"
MINUTES = 40
END_NS = START_NS + (MINUTES * 60 - 1) * SECOND


class Clock:
    def __init__(self):
        self.now = START_NS

    def now_ns(self):
        return self.now


DEPTHS = st.sampled_from([None, "0.5", "0.01", "0.33333"])
MOVES = st.lists(st.integers(-9, 9) | st.integers(-40, 40), min_size=MINUTES, max_size=MINUTES)
VOLUMES = st.lists(st.sampled_from(["0", "0.4", "2.1", "4.3337", "9"]), min_size=MINUTES, max_size=MINUTES)
# Mostly where the market comes: it is 20 ticks wide.
AWAY = st.integers(-12, 12) | st.integers(-40, 40)
SIDES = st.sampled_from(["BUY", "SELL"])
AMOUNTS = st.sampled_from(["0.1", "0.5", "1.7"]).map(parse) | st.integers(10**6, 3 * 10**8).map(
    lambda n: n // 1000 * 1000
)
FEES = st.sampled_from(
    [
        Fees(),
        Fees(maker=123_457, taker=234_561),
        Fees(charged_in="quote", maker=160_001, taker=260_001),
        Fees(third=ThirdCurrency(price=parse("300"))),
    ]
)
SELF_TRADE = st.sampled_from(["NONE", "NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])
PASS = st.tuples(st.just("pass"), st.integers(1, 45) | st.integers(45, 300))
SPOT = st.one_of(
    st.tuples(
        st.just("limit"), SIDES, AMOUNTS, AWAY, st.sampled_from(["GTC", "GTC", "IOC", "FOK", "maker"]), SELF_TRADE
    ),
    st.tuples(st.just("limit"), SIDES, AMOUNTS, AWAY, st.just("GTC"), SELF_TRADE),
    # Several that stand where the next print comes.
    st.tuples(st.just("limit"), st.just("BUY"), AMOUNTS, st.integers(-11, -8), st.just("GTC"), st.just("NONE")),
    st.tuples(st.just("limit"), st.just("SELL"), AMOUNTS, st.integers(8, 11), st.just("GTC"), st.just("NONE")),
    st.tuples(st.just("market"), SIDES, AMOUNTS, st.booleans(), SELF_TRADE),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("amend"), st.integers(0, 9), st.none() | AWAY, st.none() | AMOUNTS),
    st.tuples(st.just("replace"), st.integers(0, 9), SIDES, AMOUNTS, AWAY),
    PASS,
    PASS,
)
IN_FORCE = st.sampled_from(["GTC", "GTC", "IOC", "FOK", "GTX"])
STOPS = st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET"])
CONTRACT = st.one_of(
    st.tuples(st.just("limit"), SIDES, AMOUNTS, AWAY, IN_FORCE, st.booleans()),
    # Several that stand where the next print comes, some of which reduce.
    st.tuples(st.just("limit"), st.just("BUY"), AMOUNTS, st.integers(-11, -8), st.just("GTC"), st.booleans()),
    st.tuples(st.just("limit"), st.just("SELL"), AMOUNTS, st.integers(8, 11), st.just("GTC"), st.booleans()),
    st.tuples(st.just("market"), SIDES, AMOUNTS, st.booleans()),
    st.tuples(st.just("stop"), SIDES, AMOUNTS, AWAY, STOPS, st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    PASS,
    PASS,
    PASS,
)


def market(moves, volumes, depth, thin):
    lines, price = ["open_time,open,high,low,close,volume"], 10_000
    for n, (move, volume) in enumerate(zip(moves, volumes, strict=True)):
        after = price + move
        quad = price, max(price, after) + 7, min(price, after) - 5, after
        lines.append(",".join([str(START_NS // 10**6 + n * 60_000), *(f"{p / 100:.2f}" for p in quad), volume]))
        price = after
    found = paper.Market("BTC/USDT", read_candles(lines, "rows"), 20, depth=depth and parse(depth))
    if thin:
        found.thin(START_NS + 100 * SECOND, START_NS + 400 * SECOND, parse("0.07"))
    return found


def passed(exchange, clock, seconds, looks):
    began = clock.now
    lasts_ns = min(seconds * SECOND, END_NS - began)
    for n in range(1, looks + 1):
        clock.now = began + lasts_ns * n // looks
        exchange.advance()


def spot(exchange, clock, step, looks):
    """Do a step; says what was refused."""
    kind, *given_ = step
    tick = exchange.markets[SYMBOL].instrument.tick
    at = lambda away: exchange.markets[SYMBOL].quote(exchange.now_ns).mid // tick * tick + away * tick  # noqa: E731
    resting = exchange.open_orders("main")
    try:
        if kind == "pass":
            passed(exchange, clock, *given_, looks)
        elif kind == "limit":
            side, amount, away, in_force, self_trade = given_
            more = {"type": "LIMIT_MAKER"} if in_force == "maker" else {"type": "LIMIT", "time_in_force": in_force}
            exchange.submit(
                "main", NewOrder(SYMBOL, side, quantity=amount, price=at(away), self_trade=self_trade, **more)
            )
        elif kind == "market":
            side, amount, by_quote, self_trade = given_
            how = {"quote_quantity": amount * 100} if by_quote else {"quantity": amount}
            exchange.submit("main", NewOrder(SYMBOL, side, "MARKET", self_trade=self_trade, **how))
        elif resting:
            order = resting[given_[0] % len(resting)]
            if kind == "cancel":
                exchange.cancel("main", None, order.order_id, None)
            elif kind == "amend":
                _, away, amount = given_
                exchange.amend("main", order.order_id, None if away is None else at(away), amount)
            else:
                _, side, amount, away = given_
                exchange.replace(
                    "main", order.order_id, NewOrder(SYMBOL, side, "LIMIT", quantity=amount, price=at(away))
                )
    except Refusal as refusal:
        return str(refusal)
    return None


def states(order):
    """Which status an order may have, by what of it is filled."""
    if order.executed == order.quantity:
        return {"FILLED"}
    return {"CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"} | ({"PARTIALLY_FILLED"} if order.executed else {"NEW"})


def adds_up(exchange, opening):
    """Every order against its trades, and every currency against all trades and open orders."""
    instrument = exchange.markets[SYMBOL].instrument
    held, locked, of_order = defaultdict(int, opening), defaultdict(int), defaultdict(list)
    for trade in exchange.trades("main"):
        of_order[trade.order_id].append(trade)
        sign = 1 if trade.side == "BUY" else -1
        assert trade.quantity > 0
        assert trade.quantity % instrument.step == 0
        held["BTC"] += sign * trade.quantity
        held["USDT"] -= sign * trade.quote_amount
        held[trade.fee_currency] -= trade.fee
    for order in exchange.orders("main"):
        trades = of_order.pop(order.order_id, [])
        assert order.executed == sum(trade.quantity for trade in trades) <= order.quantity
        assert order.quote_executed == sum(trade.quote_amount for trade in trades)
        assert order.status in states(order)
        assert order.time_in_force != "FOK" or order.executed in (0, order.quantity)
        assert order.type != "LIMIT_MAKER" or all(trade.role == "maker" for trade in trades)
        if order.is_open:
            assert (order.type != "MARKET", order.time_in_force) == (True, "GTC")
            needs = reserved(
                instrument, order.side, order.price, order.left, fee_in=order.fee_in, rate=exchange.fees.maker
            )
            assert order.reserved == needs
            locked["USDT" if order.side == "BUY" else "BTC"] += needs
    assert not of_order
    for currency, one in exchange.holdings("main").items():
        assert one.free >= 0
        assert (one.free + one.locked, one.locked) == (held[currency], locked[currency])


def heard(exchange, events, told):
    """What listeners were told: no trade worse than its limit, none beyond what there was, balances as they stand."""
    found, printed, met, level = exchange.markets[SYMBOL], {}, defaultdict(int), defaultdict(int)
    for event in events:
        if isinstance(event, Printed):
            printed[event.print.at_ns] = event.print
        elif isinstance(event, BalancesChanged):
            told.update(event.holdings)
        elif isinstance(event, OrderChanged) and event.trade is not None:
            order, trade = event.order, event.trade
            quote, sign = found.quote(trade.at_ns), 1 if order.side == "BUY" else -1
            assert not order.price or (trade.price - order.price) * sign <= 0
            if trade.role == "taker":
                level[order.order_id, trade.price] += trade.quantity
                assert level[order.order_id, trade.price] <= quote.size
                assert (trade.price - (quote.ask if sign > 0 else quote.bid)) * sign >= 0
            elif ((quote.ask if sign > 0 else quote.bid) - order.through) * sign > 0:
                met[trade.at_ns, order.side] += trade.quantity
    for (at_ns, side), quantity in met.items():
        assert printed[at_ns].sell == (side == "BUY")
        assert quantity <= printed[at_ns].quantity
    holdings = exchange.holdings("main")
    assert {name: (one.free, one.locked) for name, one in told.items()} == {
        name: (holdings[name].free, holdings[name].locked) for name in told
    }


@settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
@given(
    MOVES,
    VOLUMES,
    DEPTHS,
    st.booleans(),
    FEES,
    st.sampled_from(["1000", "77.123"]),
    st.lists(SPOT, min_size=10, max_size=50),
)
def test_spot_adds_up_and_does_not_depend_on_who_looks(moves, volumes, depth, thin, fees, money, steps):
    balances = {"BTC": "3", "USDT": money, "BNB": "0.001"}
    sides = []
    for looks in (1, 5):
        clock = Clock()
        exchange = paper.Exchange([market(moves, volumes, depth, thin)], [Account("k", "s", balances)], clock, fees)
        sides.append((exchange, clock, looks))
    exchange = sides[0][0]
    opening, told = {name: parse(amount) for name, amount in balances.items()}, {}
    listening = exchange.feed.subscribe()
    for step in steps:
        assert len({spot(*side[:2], step, side[2]) for side in sides}) == 1
        adds_up(exchange, opening)
        heard(exchange, listening.drain(), told)
        assert not listening.overflowed
    assert exchange.trades("main") == sides[1][0].trades("main")
    assert exchange.orders("main") == sides[1][0].orders("main")


def contract(exchange, clock, step, looks):
    """Do a step; says what was refused."""
    kind, *given_ = step
    tick = exchange.markets[SYMBOL].instrument.tick
    at = lambda away: exchange.markets[SYMBOL].quote(exchange.now_ns).mid // tick * tick + away * tick  # noqa: E731
    resting = list(exchange.wallet("main").open)
    try:
        if kind == "pass":
            passed(exchange, clock, *given_, looks)
        elif kind == "limit":
            side, amount, away, in_force, reduces = given_
            exchange.submit("main", NewContractOrder(SYMBOL, side, "LIMIT", amount, at(away), in_force, reduces))
        elif kind == "market":
            side, amount, reduces = given_
            exchange.submit("main", NewContractOrder(SYMBOL, side, "MARKET", amount, reduce_only=reduces))
        elif kind == "stop":
            side, amount, away, what, closes = given_
            how = {"closes_position": True} if closes else {"quantity": amount, "reduce_only": True}
            exchange.submit_conditional("main", NewConditional(SYMBOL, side, what, at(away), **how))
        elif resting:
            exchange.cancel("main", SYMBOL, resting[given_[0] % len(resting)], None)
    except Refusal as refusal:
        return str(refusal)
    return None


def contracts_add_up(exchange, opening):
    """The wallet against all incomes, orders against their fills, each fill, payment and trigger against the terms."""
    wallet, found, terms = exchange.wallet("main"), exchange.markets[SYMBOL], exchange.terms
    assert wallet.balance == opening + sum(one.amount for one in wallet.incomes)
    # The books keep what the venue cuts to 10^-8 at each fill.
    assert abs(exchange.books.wallet("main") * ONE - wallet.balance) <= len(wallet.fills)
    amount, of_order, held = 0, defaultdict(list), [(0, 0)]
    level, met = defaultdict(int), defaultdict(int)
    for fill in wallet.fills:
        of_order[fill.order_id].append(fill)
        order, sign = wallet.orders[fill.order_id], 1 if fill.side == "BUY" else -1
        if order.reduce_only or order.closes:
            assert amount * sign < 0
            assert fill.quantity <= abs(amount)
        assert not order.price or (fill.price - order.price) * sign <= 0
        amount += sign * fill.quantity
        held.append((fill.at_ns, amount))
        rate = terms.maker if fill.role == "maker" else terms.taker
        assert 0 <= fill.quote_amount * rate - fill.fee * ONE < ONE
        quote = found.quote(fill.at_ns)
        if fill.role == "maker":
            assert fill.price == order.price
            if ((quote.ask if sign > 0 else quote.bid) - order.through) * sign > 0:
                met[fill.at_ns, sign] += fill.quantity
        elif not order.client_id.startswith("autoclose-"):
            level[fill.order_id, fill.price] += fill.quantity
            assert level[fill.order_id, fill.price] <= quote.size
            assert (fill.price - (quote.ask if sign > 0 else quote.bid)) * sign >= 0
    for (at_ns, sign), quantity in met.items():
        [printed] = tape(found, at_ns, 1, start_ns=at_ns)
        assert printed.sell == (sign > 0)
        assert quantity <= printed.quantity
    position = wallet.position(SYMBOL)
    assert (position.amount, position.cost > 0) == (amount, amount != 0)
    for order in wallet.orders.values():
        fills = of_order.pop(order.order_id, [])
        assert order.executed == sum(fill.quantity for fill in fills) <= order.quantity
        assert order.quote_executed == sum(fill.quote_amount for fill in fills)
        assert order.status in states(order)
        assert not order.is_open or order.time_in_force in ("GTC", "GTX")
        assert order.time_in_force != "FOK" or order.executed in (0, order.quantity)
        assert order.time_in_force != "GTX" or all(fill.role == "maker" for fill in fills)
    assert not of_order
    funded(wallet, exchange, held)
    for one in wallet.conditionals.values():
        rises = (one.asked.side == "BUY") == one.asked.type.startswith("STOP")
        past = found.quote(one.triggered_ns or exchange.now_ns).mid - one.asked.trigger
        if one.triggered_ns or one.status == "NEW":
            assert (past >= 0 if rises else past <= 0) == bool(one.triggered_ns)
        if one.asked.closes_position and one.order_id is not None:
            assert wallet.orders[one.order_id].quantity in map(abs, held_at(held, one.triggered_ns))


def held_at(held, at_ns):
    """What was held just before an instant, and after each fill of that instant."""
    before = [amount for filled_ns, amount in held if filled_ns < at_ns][-1]
    return [before, *(amount for filled_ns, amount in held if filled_ns == at_ns)]


def funded(wallet, exchange, held):
    """Every payment of funding is that of what was held then, before or after what was filled at that instant."""
    paid = {one.at_ns: one.amount for one in wallet.incomes if one.kind == "FUNDING_FEE"}
    every_ns = exchange.terms.funding_interval_ns
    due_ns = range(START_NS // every_ns * every_ns, exchange.now_ns + 1, every_ns)
    assert [at_ns for at_ns, _ in exchange.funded] == [at_ns for at_ns in due_ns if at_ns > START_NS]
    for at_ns, marks in exchange.funded:
        assert marks == {SYMBOL: exchange.markets[SYMBOL].quote(at_ns).mid}
        due = [-amount * marks[SYMBOL] * exchange.terms.funding_rate / ONE**2 for amount in held_at(held, at_ns)]
        assert any(abs(paid.get(at_ns, 0) - one) <= 1 for one in due)
    assert paid.keys() <= {at_ns for at_ns, _ in exchange.funded}


@settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
@given(
    MOVES,
    VOLUMES,
    DEPTHS,
    st.booleans(),
    st.sampled_from(["1000", "15"]),
    st.sampled_from([100, 28_800]),
    st.lists(CONTRACT, min_size=20, max_size=50),
)
def test_contracts_add_up_and_do_not_depend_on_who_looks(moves, volumes, depth, thin, money, funding_s, steps):
    terms, sides = Terms(funding_interval_ns=funding_s * SECOND), []
    for looks in (1, 5):
        clock = Clock()
        account = Account("k", "s", {"USDT": money})
        exchange = paper.Perpetual([market(moves, volumes, depth, thin)], [account], clock, terms)
        sides.append((exchange, clock, looks))
    wallet, other = (side[0].wallet("main") for side in sides)
    for step in steps:
        assert len({contract(*side[:2], step, side[2]) for side in sides}) == 1
        contracts_add_up(sides[0][0], parse(money))
    assert (wallet.fills, wallet.incomes, wallet.orders) == (other.fills, other.incomes, other.orders)
