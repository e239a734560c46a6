"""The corpus of bad input: how cases are registered, and what several of them are made of."""

import numpy as np
import pandas as pd

COLUMNS = ["--bag", "bag", "--label", "label"]


def good_frame():
    rng = np.random.default_rng(0)
    bags = np.repeat([f"b{number}" for number in range(12)], 3)
    return pd.DataFrame(
        {
            "bag": bags,
            "label": [int(name[1:]) % 2 for name in bags],
            "x": rng.normal(size=36),
            "y": rng.normal(size=36),
        }
    )


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class Plan:
    """What a case runs, and what the sentence must name."""

    def __init__(self, *argv, says):
        self.argv = [str(part) for part in argv]
        self.says = says


CASES = {}
RUN_CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def run_case(name, says, spoil, command="predict"):
    RUN_CASES[name] = (says, spoil, command)


def truncated(path_name, share):
    def spoil(slides):
        path = slides / path_name
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return spoil


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
