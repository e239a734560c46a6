"""How long a browser takes to open a report of 1,000 bags of 200 instances, and how large the file is."""

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from bagwise.reports import BagView, Metric, Report, write_report

BAGS, INSTANCES, LAPS = 1000, 200, 5
SIDE = 32.0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def report() -> Report:
    """Noise in the form of digits, with places, so that there are pictures and maps."""
    rng = np.random.default_rng(0)
    # Noise with a wide margin: about the bytes of a written digit.
    images = np.zeros((INSTANCES, 28, 28), dtype=np.uint8)
    images[:, 9:19, 8:20] = rng.integers(0, 256, (INSTANCES, 10, 12))
    corners = SIDE * np.stack(np.divmod(np.arange(INSTANCES), 20), axis=1)[:, ::-1]
    bags = [
        BagView(
            f"bag {number}",
            "positive",
            ("positive", "negative")[number % 5 == 0],
            0.5 + number % 100 / 200,
            rng.dirichlet(np.full(INSTANCES, 0.1)),
            images=images,
            corners=corners,
            side=SIDE,
        )
        for number in range(BAGS)
    ]
    history = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 41)]
    return Report(
        title="A thousand bags",
        summary="Made up.",
        metrics=[Metric("Bag AUC", 0.97, "Of no bags.")],
        facts=[("Seed", "0")],
        history=history,
        bags=bags,
        notes=["A note."],
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        write_report(report(), path)
        found = next(place for place in map(shutil.which, CHROMIUM) if place)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        seconds = []
        for _ in range(LAPS):
            page = browser.new_context().new_page()
            begin = time.perf_counter()
            page.goto(path.as_uri())
            page.evaluate("new Promise(requestAnimationFrame)")
            seconds.append(time.perf_counter() - begin)
            page.close()
        browser.close()
        size = path.stat().st_size / 1e6
    row = {
        "value": round(statistics.median(seconds), 2),
        "unit": "s",
        "ours": round(size, 1),
        "theirs": None,
        "raw": {"seconds": [round(one, 2) for one in seconds], "megabytes": round(size, 1)},
        "what": f"until headless Chromium shows a report of {BAGS:,} bags of {INSTANCES} instances, a file of"
        f" {size:.1f} MB",
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
