"""Boosted trees as plain arrays, which are saved and predict without the library that grew them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray


class Forest(NamedTuple):
    """Trees as arrays, all nodes one after the other.

    root: (trees,) first nodes. start: () log-odds before any tree. Of every node (nodes,): value, log-odds of a leaf;
    column and threshold, at most which a number goes left; missing_left; left and right, a leaf's being itself;
    category, row of goes_left (splits, 256), the categories that go left, or -1 for a number.
    """

    root: IntArray
    start: FloatArray
    value: FloatArray
    column: IntArray
    threshold: FloatArray
    missing_left: BoolArray
    left: IntArray
    right: IntArray
    category: IntArray
    goes_left: BoolArray

    @classmethod
    def constant(cls, rate: float) -> Self:
        """Return no trees and a rate."""
        none, truths = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        reals, start = np.zeros(0), np.array(math.log(rate / (1.0 - rate)))
        return cls(none, start, reals, none, reals, truths, none, none, none, truths.reshape(0, 256))

    @classmethod
    def of(cls, model: Any, trees: int) -> Self:  # noqa: ANN401 - of scikit-learn
        """Return the first trees of a fitted HistGradientBoostingClassifier."""
        chosen = [stage[0] for stage in model._predictors[:trees]]  # noqa: SLF001 - there is no public way
        start = np.array(float(model._baseline_prediction[0, 0]))  # noqa: SLF001
        if not chosen:
            return cls.constant(0.5)._replace(start=start)
        nodes = np.concatenate([tree.nodes for tree in chosen])
        sizes = [len(tree.nodes) for tree in chosen]
        root, splits = _starts(sizes), [len(tree.raw_left_cat_bitsets) for tree in chosen]
        few = np.zeros(model.n_features_in_, np.bool_) if model.is_categorical_ is None else model.is_categorical_
        order = np.argsort(~few, kind="stable")  # inside, categories come first
        first, this = np.repeat(root, sizes), np.arange(len(nodes))
        leaf, by_category = nodes["is_leaf"] == 1, nodes["is_categorical"] == 1
        bits = np.concatenate([tree.raw_left_cat_bitsets for tree in chosen]).astype("<u4").view(np.uint8)
        return cls(
            root,
            start,
            nodes["value"].copy(),
            order[nodes["feature_idx"]],
            nodes["num_threshold"].copy(),
            nodes["missing_go_to_left"] == 1,
            np.where(leaf, this, first + nodes["left"]),
            np.where(leaf, this, first + nodes["right"]),
            np.where(by_category & ~leaf, np.repeat(_starts(splits), sizes) + nodes["bitset_idx"], -1),
            np.unpackbits(bits.reshape(-1, 32), axis=1, bitorder="little").astype(np.bool_),
        )

    def scores(self, x: FloatArray) -> FloatArray:
        """Return log-odds (n,) of rows (n, columns)."""
        total = np.full(len(x), float(self.start))
        for root in self.root:
            total += self.value[self._leaves(x, int(root))]
        return total

    def _leaves(self, x: FloatArray, root: int) -> IntArray:
        """Return the leaf (n,) of a tree that each row falls into."""
        at, open_ = np.full(len(x), root), np.arange(len(x))
        while len(open_):
            node = at[open_]
            below = np.where(self._goes_left(x[open_, self.column[node]], node), self.left[node], self.right[node])
            at[open_] = below
            open_ = open_[self.left[below] != below]
        return at

    def _goes_left(self, value: FloatArray, node: IntArray) -> BoolArray:
        category, missing = self.category[node], np.isnan(value)
        goes = np.where(missing, self.missing_left[node], value <= self.threshold[node])
        by_category = np.flatnonzero((category >= 0) & ~missing)
        goes[by_category] = self.goes_left[category[by_category], value[by_category].astype(np.int64)]
        return goes


def _starts(sizes: list[int]) -> IntArray:
    return np.cumsum([0, *sizes[:-1]]).astype(np.int64)
