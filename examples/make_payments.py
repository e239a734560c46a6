"""Make `payments.csv` and `accounts.csv`: what happened on bank accounts, and three things that became of these.

`bagwise.datasets.payments` draws them, and says by which rules. `truth.csv` has the events that the rules speak of, and
`bayes.json` the AUC on these accounts of whoever knows the rules.

    python examples/make_payments.py --accounts 3000 --seed 0 --out payments
"""

import argparse
import json
from pathlib import Path

from bagwise.datasets.payments import payments
from bagwise.errors import BagwiseError


def make(count: int, seed: int, out: Path) -> dict[str, float | None]:
    """Write the files of `count` accounts to `out`, and give the AUC that each rule implies on them."""
    made = payments(count, seed)
    out.mkdir(parents=True, exist_ok=True)
    made.events.to_csv(out / "payments.csv", index=False)
    made.accounts.to_csv(out / "accounts.csv", index=False)
    made.truth.to_csv(out / "truth.csv", index=False)
    (out / "bayes.json").write_text(json.dumps(made.bayes) + "\n")
    return made.bayes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=3000, help="how many accounts (default: 3000)")
    parser.add_argument("--seed", type=int, default=0, help="other accounts by the same rules (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("payments"), help="a folder (default: payments)")
    asked = parser.parse_args()
    try:
        bayes = make(asked.accounts, asked.seed, asked.out)
    except (BagwiseError, OSError) as error:
        parser.error(str(error))
    for label, auc in bayes.items():
        print(f"{label}: " + ("all accounts are alike" if auc is None else f"the rule itself has AUC {auc:.3f}"))
