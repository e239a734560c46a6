"""Which customers leave, and over which contact: a table whose rows are instances.

python examples/table.py
"""

from pathlib import Path

import bagwise as bw
from bagwise.explain import explain, key_instances

HERE = Path(__file__).parent


def main() -> None:
    bags = bw.read_table(HERE / "contacts.csv", bag="customer", label="left", instance="contact")
    method = bw.AttentionMIL(random_state=0)

    # How good will it be on customers it has not seen? All ten folds train together.
    print(bw.cross_validate(method, bags, folds=10))

    # A model of all customers, for new ones whose end nobody knows yet.
    model = method.fit(bags)
    new = bw.read_table(HERE / "new_contacts.csv", bag="customer", instance="contact")
    at_risk = new.names[model.predict_proba(new)[:, 1] > 0.5]

    # The contact that counted most in each customer at risk, with what the table says of it.
    worst = key_instances(explain([model], new), new, count=1)
    shown = worst[worst["bag"].isin(at_risk)]
    columns = ["bag", "probability", "instance", "minutes_waited", "days_open", "messages"]
    print(shown[columns].round(2).to_string(index=False))


if __name__ == "__main__":
    main()
