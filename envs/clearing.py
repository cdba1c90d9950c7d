"""Whole auctions between B bidders for n opportunities: pure functions of arrays.

Money is int64 micro-currency. A bid of 0 or less is no bid. One tie rule: of equal bids the lower-numbered bidder's
is the higher; a bid exactly at the reserve sells.

Slots are ranked by bid, and bids and prices are per delivery: what is paid when the slot's ad is delivered (clicked,
or seen, as the market defines it), nothing otherwise. factors (K,) are the chances of the slots to deliver; a slot is
expected to cost factor x price, and what moves is the whole int64 price.

Sources: Edelman, Ostrovsky and Schwarz 2007 (GSP); Varian 2007; Vickrey, Clarke and Groves with Myerson's reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import UNWINNABLE, FloatArray, IntArray
from bidpilot.envs.auctions import soft_floor

if TYPE_CHECKING:
    import numpy.typing as npt

UNSOLD = -1
BLOCK = 8192
"""Opportunities ranked at a time: few enough for the cache, enough to hide the cost of a NumPy call."""

FEW = 500
"""Up to so many opportunities NumPy's calls cost more than the work: there everything is sorted at once."""

ONE_SLOT = np.ones(1)


class Slots(NamedTuple):
    """Who got which slot and what a delivery in it costs.

    winner: (K, n) number of the bidder, UNSOLD (-1) where nobody's bid reached the reserve. price: (K, n) int64
    micro-currency per delivery, 0 where unsold.
    """

    winner: IntArray
    price: IntArray

    def paid(self, bidders: int) -> IntArray:
        """Return what each bidder owes (bidders,) if every sold slot delivers."""
        owed = np.zeros(bidders, dtype=np.int64)
        sold = self.winner != UNSOLD
        np.add.at(owed, self.winner[sold], self.price[sold])
        return owed


def second_price_sale(bids: IntArray, reserve: IntArray | int = 0, floor: IntArray | None = None) -> Slots:
    """Sell one slot per opportunity to the highest of the bids (B, n), at the second or the reserve if that is higher.

    reserve: (n,) or one for all. floor: (n,) soft floors, see bidpilot.envs.auctions.soft_floor. Returns Slots of
    shapes (1, n). Raises InputError as gsp.
    """
    least = _checked(bids, ONE_SLOT, reserve)
    bidder, bid = ranked(bids, 2)
    price = np.maximum(bid[1:], least)
    if floor is not None:
        price = soft_floor(price, bid[:1].astype(np.float64), _amounts("soft floor", floor, bids.shape[1]))
    return _sold(bidder[:1], bid[:1], price, least)


def first_price_sale(bids: IntArray, reserve: IntArray | int = 0) -> Slots:
    """Sell one slot per opportunity to the highest of the bids (B, n) that reach the reserve; he pays his bid.

    reserve: (n,) or one for all. Returns Slots of shapes (1, n). Raises InputError as gsp.
    """
    least = _checked(bids, ONE_SLOT, reserve)
    bidder, bid = ranked(bids, 1)
    return _sold(bidder, bid, bid, least)


def gsp(bids: IntArray, factors: FloatArray, reserve: IntArray | int = 0) -> Slots:
    """Sell K slots per opportunity by generalised second price: each costs the next bid in rank, or the reserve.

    bids: (B, n) int64 micro-currency per delivery. factors: (K,) in (0, 1], none above the one before; they do not
    enter the prices, only how often they are paid. reserve: (n,) or one for all, micro-currency.

    Raises InputError for bids that are no int64 (B, n) array or not below UNWINNABLE, for factors out of range or
    rising, and for a reserve below 0 or of another shape.
    """
    least = _checked(bids, factors, reserve)
    bidder, bid = ranked(bids, len(factors) + 1)
    return _sold(bidder[:-1], bid[:-1], np.maximum(bid[1:], least), least)


def vcg(bids: IntArray, factors: FloatArray, reserve: IntArray | int = 0) -> Slots:
    """Sell K slots per opportunity; each winner pays what his presence costs the others: bidding the value is best.

    Arguments, shapes and errors as gsp. The payment for slot j, expected over deliveries, is the sum over k >= j of
    (factor_k - factor_{k+1}) max(bid ranked k+1, reserve); divided by factor_j it is the price of a delivery, a mean
    of other people's bids. It is rounded to the nearest unit, so no lie gains more than one unit.
    """
    least = _checked(bids, factors, reserve)
    bidder, bid = ranked(bids, len(factors) + 1)
    threshold = np.maximum(bid[1:], least)
    price = np.empty_like(threshold)
    mean = threshold[-1].astype(np.float64)
    for j in range(len(factors) - 1, -1, -1):
        share = factors[j + 1] / factors[j] if j + 1 < len(factors) else 0.0
        mean = share * mean + (1.0 - share) * threshold[j]
        price[j] = np.clip(np.rint(mean).astype(np.int64), least, threshold[j])  # undoes the last bit of rounding
    return _sold(bidder[:-1], bid[:-1], price, least)


def ranked(bids: IntArray, depth: int) -> tuple[IntArray, IntArray]:
    """Return the highest bids of each opportunity in order, and whose they are: bidder (depth, n), bid (depth, n).

    Equal to ranked_plainly to the bit, several times as fast. A bid and its bidder are one integer, the bidder in the
    low bits, so that ranking is nothing but maximum and minimum: each bid is pushed down a ladder of the highest yet,
    a block of opportunities at a time. Bids, up or down, must be below UNWINNABLE.
    """
    bidders, n = bids.shape
    bits = bidders.bit_length()
    ladder = np.zeros((depth, n), dtype=np.int64)
    if n <= FEW:
        _sort(bids, bits, ladder)
    else:
        key, spare = np.empty((2, min(BLOCK, n)), dtype=np.int64)
        for start in range(0, n, BLOCK):
            _insert(bids[:, start : start + BLOCK], bits, ladder[:, start : start + BLOCK], key, spare)
    bid = ladder >> bits
    return np.where(bid > 0, bidders - (ladder & ((1 << bits) - 1)), UNSOLD), bid


def ranked_plainly(bids: IntArray, depth: int) -> tuple[IntArray, IntArray]:
    """Return what ranked returns, by sorting: the reference."""
    padded = np.vstack([np.maximum(bids, 0), np.zeros((depth, bids.shape[1]), dtype=np.int64)])
    bidder = np.argsort(-padded, axis=0, kind="stable")[:depth]
    bid = np.take_along_axis(padded, bidder, axis=0)
    return np.where(bid > 0, bidder, UNSOLD), bid


def _sort(bids: IntArray, bits: int, ladder: IntArray) -> None:
    """Fill the ladder (depth, n) with the highest keys of few opportunities."""
    key = (bids << bits) + np.arange(len(bids), 0, -1)[:, None]
    highest = np.sort(key.T, axis=1)[:, ::-1][:, : len(ladder)].T
    np.maximum(highest, 0, out=ladder[: len(highest)])


def _insert(bids: IntArray, bits: int, ladder: IntArray, key: IntArray, spare: IntArray) -> None:
    """Push every bid (B, m) down the ladder (depth, m), highest first, in place; key, spare: room for m."""
    width = bids.shape[1]
    falling, low = key[:width], spare[:width]
    for bidder, bid in enumerate(bids):
        np.left_shift(bid, bits, out=falling)
        falling += len(bids) - bidder  # the lower number is the higher key; 0 is nobody
        for rung in ladder[:-1]:
            np.minimum(rung, falling, out=low)
            np.maximum(rung, falling, out=rung)
            falling, low = low, falling
        np.maximum(ladder[-1], falling, out=ladder[-1])


def _sold(bidder: IntArray, bid: IntArray, price: IntArray, least: IntArray) -> Slots:
    """Take back what did not reach the reserve."""
    sold = (bid >= least) & (bidder != UNSOLD)
    return Slots(np.where(sold, bidder, UNSOLD), np.where(sold, price, 0))


def _checked(bids: IntArray, factors: FloatArray, reserve: IntArray | int) -> IntArray:
    """Return the reserve (n,) of an auction whose arguments are in order."""
    if bids.ndim != 2 or bids.dtype != np.int64:  # noqa: PLR2004 - bidders and opportunities
        raise InputError(
            f"bids must be int64 micro-currency of shape (bidders, opportunities); got {bids.dtype} {bids.shape}"
        )
    if bids.size and not -UNWINNABLE < bids.min() <= bids.max() < UNWINNABLE:
        raise InputError(f"bids must be below {UNWINNABLE} micro-currency; got {bids.min()} to {bids.max()}")
    check_factors(factors)
    return _amounts("reserve", reserve, bids.shape[1])


def check_factors(factors: FloatArray) -> None:
    """Raise InputError unless the factors (K,) fall from at most 1 and stay above 0."""
    shape = np.shape(factors)
    falling = len(shape) == 1 and shape[0] > 0 and bool(np.all(np.diff(factors, prepend=1.0) <= 0.0))
    if not (falling and factors[-1] > 0.0):
        raise InputError(
            f"position factors must be one number in (0, 1] per slot, none above the one before; got {factors}"
        )


def _amounts(what: str, amount: npt.ArrayLike, n: int) -> IntArray:
    """Return micro-currency of 0 or more as (n,)."""
    given = np.asarray(amount)
    if given.dtype.kind not in "iu" or given.shape not in {(), (n,)} or (given < 0).any():
        raise InputError(
            f"a {what} must be whole micro-currency of 0 or more, one for all or one for each of {n} opportunities; "
            f"got {given.dtype} of shape {given.shape}{f' down to {given.min()}' if given.size else ''}"
        )
    return np.broadcast_to(given.astype(np.int64), (n,))
