"""What a service does all day: parse JSON, match expressions, churn dicts and lists, sort.

`realistic.py SECONDS [--counter FILE]`.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any, Dict, List

import progress

Record = Dict[str, Any]

DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
WORD = re.compile(r"[a-z]+")


def produce(random_numbers: random.Random) -> str:
    """Return a JSON document of 200 records."""
    records = [
        {
            "id": number,
            "day": "2026-%02d-%02d" % (random_numbers.randint(1, 12), random_numbers.randint(1, 28)),
            "text": "order %d of customer %d" % (number, random_numbers.randint(1, 50)),
            "price": random_numbers.random() * 100,
        }
        for number in range(200)
    ]
    return json.dumps(records)


def enrich(records: List[Record]) -> None:
    """Add to each record its month and its words."""
    for record in records:
        found = DATE.match(record["day"])
        record["month"] = int(found.group(2)) if found else 0
        record["words"] = WORD.findall(record["text"])


def totals(records: List[Record]) -> Dict[int, float]:
    """Return the sum of prices by month."""
    sums: Dict[int, float] = {}
    for record in records:
        sums[record["month"]] = sums.get(record["month"], 0.0) + record["price"]
    return sums


def serve(document: str) -> str:
    """Return the answer to one request: the dearest records and the totals by month."""
    records: List[Record] = json.loads(document)
    enrich(records)
    dearest = sorted(records, key=lambda record: (-record["price"], record["id"]))[:10]
    return json.dumps({"dearest": dearest, "totals": totals(records)}, sort_keys=True)


if __name__ == "__main__":
    DOCUMENT = produce(random.Random(1))
    progress.main(__doc__, lambda: serve(DOCUMENT))
