"""Whether two methods differ by more than the luck of the folds.

python examples/compare.py
"""

from itertools import combinations
from pathlib import Path

import bagwise as bw
from bagwise.evaluation.significance import corrected_t_test

FOLDS, REPEATS = 10, 2
METHODS = {
    "attention": bw.make("attention", random_state=0),
    "instance-max": bw.make("instance-max", random_state=0),
    "embedding-mean": bw.make("embedding-mean", random_state=0),
}


def main() -> None:
    table = Path(__file__).parent / "contacts.csv"
    bags = bw.read_table(table, bag="customer", label="left", instance="contact")

    # The same seed gives every method the same folds, so that their scores can be compared fold by fold.
    found = {
        name: bw.cross_validate(method, bags, folds=FOLDS, repeats=REPEATS, seed=0) for name, method in METHODS.items()
    }
    for name, result in found.items():
        print(f"{name:<15} accuracy {result.mean('accuracy'):.3f}   AUC {result.mean('auc'):.3f}")

    # Folds share training bags, which an ordinary t-test does not know.
    for first, second in combinations(found, 2):
        test = corrected_t_test(*(found[name].scores["accuracy"] for name in (first, second)), test_share=1 / FOLDS)
        print(f"{first} - {second}: {test.difference:+.3f} (p = {test.p_value:.3f})")


if __name__ == "__main__":
    main()
