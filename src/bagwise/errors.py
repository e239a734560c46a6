"""The one kind of error that Bagwise raises for what a user can put right, and the one kind of warning."""

from bagwise.text import printable

__all__ = ["BagwiseError", "BagwiseWarning"]


class BagwiseError(ValueError):
    """Bad data, a bad parameter or a bad file, said in one sentence.

    The sentence names what is wrong, where (file, row, bag or parameter), and what to do about it. The command line
    prints it as it is; it is a `ValueError`, so that scikit-learn's tools treat it as they treat their own.

    Examples
    --------
    >>> import bagwise as bw
    >>> bw.Bags.from_arrays([])
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: there are no bags: give at least one
    """

    def __init__(self, sentence: str) -> None:
        # It may quote data: a label with the end of a line in it, or with what a terminal would act on.
        super().__init__(printable(sentence))


class BagwiseWarning(UserWarning):
    """What a user should know of data that are used all the same: what was left out, stripped or put in its place.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warnings.warn("2 bags have no label and are left out", BagwiseWarning)
    >>> str(told[0].message)
    '2 bags have no label and are left out'
    """
