"""What `OPEN_INFERENCE.md` shows, as it stands there."""

import json
import pathlib
import re

import httpx

PAGE = (pathlib.Path(__file__).parents[3] / "tfcxr" / "server" / "OPEN_INFERENCE.md").read_text(encoding="utf-8")


def test_the_example_draws_pictures(rest):
    address, body = re.search(r"curl (\S+) -d '(.*?)'\n", PAGE, re.DOTALL).groups()
    answer = rest.post(httpx.URL(address).path.replace("acgan", "tiny"), json=json.loads(body)).json()
    assert (answer["id"], answer["parameters"]) == ("a", {"synthetic": True})
    assert len(answer["outputs"][0]["data"]) == 2


def test_the_table_names_every_metric(rest):
    text = rest.get("/metrics").text
    served = set(re.findall(r"(?m)^# TYPE (tfcxr_\w+) (?:counter|gauge|histogram)$", text))
    assert set(re.findall(r"`(tfcxr_\w+)`", PAGE)) == {name for name in served if not name.endswith("_created")}
