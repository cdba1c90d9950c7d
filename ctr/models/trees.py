"""Gradient-boosted trees of scikit-learn, the honest baseline (histograms: Ke et al., NeurIPS 2017).

A field of few ids is a category of the trees; one of many ids, or of many values, becomes a number: the smoothed rate
of the event under each id. In training a row's rate comes from other rows, never from its own label. Fitted trees are
plain arrays: neither saving nor predicting needs scikit-learn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.forest import Forest
from bidpilot.ctr.loop import CHUNK, Curve
from bidpilot.ctr.models.ftrl import Labels

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.fields import Fields
    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import BoolArray, FloatArray

FEW = 255
"""Ids up to which a field is a category: as many as scikit-learn splits."""

BLOCKS = 5
"""Parts of the training rows, by chance; a row's rates come from the other parts."""


@dataclass(frozen=True)
class Config:
    """Settings of the trees.

    epochs: trees, at most. patience: stop after so many without a better validation loss. learning_rate: share of a
    tree's advice that is taken. leaves: of a tree, at most. rows_per_leaf: at least. l2: precision of the leaves'
    prior. smoothing: rows of the average rate that are added to those of an id. fields: how columns become ids.
    Raises InputError for figures out of range, and from fit where scikit-learn is not installed.
    """

    trains: ClassVar[bool] = True
    epochs: int = 400
    patience: int = 20
    learning_rate: float = 0.06
    leaves: int = 15
    rows_per_leaf: int = 40
    l2: float = 5.0
    smoothing: float = 20.0
    fields: FieldSettings = field(default_factory=FieldSettings)

    def __post_init__(self) -> None:
        """Check the figures."""
        for name, least in {"epochs": 1, "patience": 1, "leaves": 2, "rows_per_leaf": 1, "l2": 0}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        for name in ("learning_rate", "smoothing"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"{name} must be above 0; got {getattr(self, name)}")

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        event: str,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,  # noqa: ARG002 - a fit is too short for checkpoints
    ) -> tuple[Trees, Curve]:
        """Fit the probability of an event (a 0/1 column of the log); valid must be later in time than train.

        weight: of the training rows, then of the validation rows. The curve has an epoch for each tree.
        """
        early, late = (None, None) if weight is None else (weight[: len(train)], weight[len(train) :])
        rows, later = Labels.of(train, event, early), Labels.of(valid, event, late)
        codes, x = self._code(train, rows, rng)
        if len(np.unique(rows.label)) == 1:
            return Trees(self, codes, Forest.constant(rows.rate)), Curve()
        model = self._model(self.epochs, codes, rng, early_stopping=True, n_iter_no_change=self.patience)
        given = {"X_val": codes.read(valid), "y_val": later.label, "sample_weight_val": later.weight}
        model.fit(x, rows.label, rows.weight, **given)
        curve = Curve(*(tuple((-scores).tolist()) for scores in (model.train_score_, model.validation_score_)))
        return Trees(self, codes, Forest.of(model, curve.best)), curve

    def refit(
        self,
        log: AuctionLog,
        event: str,
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,  # noqa: ARG002
    ) -> Trees:
        """Fit so many trees on all rows: as many as an earlier fit found best."""
        rows = Labels.of(log, event, weight)
        codes, x = self._code(log, rows, rng)
        if epochs == 0 or len(np.unique(rows.label)) == 1:
            return Trees(self, codes, Forest.constant(rows.rate))
        model = self._model(epochs, codes, rng, early_stopping=False).fit(x, rows.label, rows.weight)
        return Trees(self, codes, Forest.of(model, epochs))

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Trees:
        """Rebuild what Trees.settings and .tensors returned."""
        codes = Codes(FieldEncoder.from_json(settings["encoder"]), tensors["code"])
        return Trees(self, codes, Forest(**{name: tensors[name] for name in Forest._fields}))

    def _code(self, log: AuctionLog, rows: Labels, rng: np.random.Generator) -> tuple[Codes, FloatArray]:
        """Return the codes of the ids, and the training rows coded."""
        encoder = FieldEncoder.fit(log, self.fields)
        fields, block = encoder.transform(log), rng.permutation(len(log)) % BLOCKS
        x = np.empty((len(log), encoder.fields + len(encoder.bags) + encoder.numbers))
        for part in range(BLOCKS):
            here = np.flatnonzero(block == part)
            known = Codes.fit(encoder, fields, rows, block != part, self.smoothing)
            x[here] = known.of(fields.rows(here))
        return Codes.fit(encoder, fields, rows, block >= 0, self.smoothing), x

    def _model(self, trees: int, codes: Codes, rng: np.random.Generator, **stopping: Any) -> Any:  # noqa: ANN401
        """Return scikit-learn's untrained model."""
        try:
            from sklearn.ensemble import HistGradientBoostingClassifier
        except ImportError as error:
            raise InputError(
                "model 'trees' needs scikit-learn 1.7 or newer: pip install 'bidpilot[trees]', or choose another model"
            ) from error
        return HistGradientBoostingClassifier(
            max_iter=trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.rows_per_leaf,
            l2_regularization=self.l2,
            random_state=int(rng.integers(2**31)),
            categorical_features=codes.categories,
            **stopping,
        )


@dataclass(frozen=True)
class Codes:
    """What each id is to the trees: a category's number (missing where training had none), or a rate.

    code: (ids,). categories: columns that are categories.
    """

    encoder: FieldEncoder
    code: FloatArray
    categories: tuple[int, ...] = ()

    @classmethod
    def fit(cls, encoder: FieldEncoder, fields: Fields, rows: Labels, use: BoolArray, smoothing: float) -> Self:
        """Learn the numbers of fields with few ids from all rows, the rates of the others from rows to use (n,)."""
        shown, happened = (
            _total(fields, weight, encoder.size) for weight in (rows.weight * use, rows.weight * use * rows.label)
        )
        rate = float(happened.sum() / max(shown.sum(), 1e-300))
        code = (happened + smoothing * rate) / (shown + smoothing)
        sizes = [known.ids.size for known in encoder.vocabularies.values()]
        categories = []
        for column, start in enumerate(encoder.offsets.tolist()):
            seen = np.unique(fields.ids[:, column])
            if len(seen) <= FEW:
                code[start : start + sizes[column]] = np.nan
                code[seen] = np.arange(len(seen))
                categories.append(column)
        return cls(encoder, code, tuple(categories))

    def read(self, log: AuctionLog) -> FloatArray:
        """Return what the trees see (n, columns) of a log."""
        return self.of(self.encoder.transform(log))

    def of(self, fields: Fields) -> FloatArray:
        """Return what the trees see (n, columns): ids as codes, means of the codes of a cell's values, numbers."""
        bags = np.split(fields.bags, np.cumsum(self.encoder.bags)[:-1], axis=1) if self.encoder.bags else []
        return np.concatenate([self.code[fields.ids], *(self._mean(bag) for bag in bags), fields.numbers], axis=1)

    def _mean(self, bag: npt.NDArray[np.int32]) -> FloatArray:
        there = bag >= 0
        count = there.sum(1, keepdims=True)
        total = (self.code[np.maximum(bag, 0)] * there).sum(1, keepdims=True)
        means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.zeros_like(means) if np.isnan(means).all() else np.asarray(means)  # binning needs a number


def _total(fields: Fields, weight: FloatArray, size: int) -> FloatArray:
    """Return the weight (size,) of the rows that have each id."""
    total = np.zeros(size)
    for column in (*fields.ids.T, *fields.bags.T):
        there = column >= 0
        total += np.bincount(column[there], weight[there], size)
    return total


@dataclass(frozen=True)
class Trees:
    """Fitted trees: a Predictor."""

    config: Config
    codes: Codes
    forest: Forest

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) of the event for every row."""
        fields = self.codes.encoder.transform(log)
        parts = [slice(start, start + CHUNK) for start in range(0, max(len(fields), 1), CHUNK)]
        odds = np.concatenate([self.forest.scores(self.codes.of(fields.rows(part))) for part in parts])
        return np.asarray(1.0 / (1.0 + np.exp(-odds)))

    def settings(self) -> dict[str, Any]:
        """Return the settings and the encoder."""
        return {"config": asdict(self.config), "encoder": self.codes.encoder.to_json()}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the codes and the trees."""
        return {"code": self.codes.code, **self.forest._asdict()}
