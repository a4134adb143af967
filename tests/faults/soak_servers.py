"""Two servers of the same models, in a process of their own: storms, bursts, one down for a while and silent for long.

`python soak_servers.py SECONDS SEED` says the URLs as a line of JSON and serves until its standard input ends. A GET of
/account?MODEL says how many answers went out by that name, and forgets them.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web
from fault_storm import FAULTS, LONG, Storm

from models.endpoint.stub import Asked, Say, Stub, error

POISON = {"what is 24 + 17?": 400}
"""Rows that are never answered, by a refusal that is one at the first try: others might be cut short by an outage."""
DOWN, SILENT = 60.0, 600.0
"""Seconds of an hour in which the second server cannot be reached, and in which it says nothing."""
BURST = 3.0
_HIDDEN: Mapping[str, Say] = {"down": Say(fault="reset"), "silent": Say(fault="silence"), "burst": error(503, "burst")}


class Weather:
    """What a server does at present: as the storm says, or the same to all."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.now = ""
        """A key of `_HIDDEN`, or nothing."""

    def __call__(self, asked: Asked) -> Say:
        return _HIDDEN[self.now] if self.now else self.storm(asked)


class Account:
    """Which answers went out, by the name of the model."""

    def __init__(self) -> None:
        self._out: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def heard(self, asked: Asked, say: Say) -> None:
        if b'"usage"' in say.body and asked.body["max_tokens"] > 1:  # probes are not counted
            self._out[asked.body["model"]][json.dumps(asked.body)] += 1

    async def told(self, request: web.Request) -> web.Response:
        out = self._out.pop(request.query_string, Counter())
        return web.json_response({"answers": out.total(), "questions": len(out)})


class Place:
    """A server at one address, and its weather."""

    def __init__(self, storm: Storm, account: Account) -> None:
        self.weather = Weather(storm)
        self.stub = Stub(self.weather, keeps=False, heard=account.heard)

    async def begin(self) -> None:
        self.runner = await self.stub.runner()
        self.site = await self.stub.begin(self.runner, 0)

    async def outages(self, seconds: float) -> None:
        """Down at a fifth of the time, silent from two fifths on."""
        share, begun = seconds / 3600, asyncio.get_running_loop().time()
        await asyncio.sleep(0.2 * seconds)
        self.weather.now = "down"
        await self.site.stop()
        await asyncio.sleep(DOWN * share)
        self.site = await self.stub.begin(self.runner, urlsplit(self.stub.url).port or 0)
        self.weather.now = ""
        await asyncio.sleep(begun + 0.4 * seconds - asyncio.get_running_loop().time())
        self.weather.now = "silent"
        await asyncio.sleep(SILENT * share)
        self.weather.now = ""

    async def bursts(self, seed: int) -> None:
        """Now and then nothing but errors."""
        dice = random.Random(seed)
        while True:
            await asyncio.sleep(dice.uniform(20, 120))
            self.weather.now = self.weather.now or "burst"
            await asyncio.sleep(BURST)
            self.weather.now = "" if self.weather.now == "burst" else self.weather.now


async def main(seconds: float, seed: int) -> None:
    account = Account()
    storms = [Storm(seed + n, longest=2, slowest=0.6, faults={**FAULTS, **LONG}, poison=POISON) for n in range(2)]
    places = [Place(storm, account) for storm in storms]
    places[1].stub.came = places[0].stub.came
    for place in places:
        await place.begin()
    accounts = web.Application()
    accounts.add_routes([web.get("/account", account.told)])
    clerk = web.AppRunner(accounts, access_log=None)
    await clerk.setup()
    await web.TCPSite(clerk, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{clerk.addresses[0][1]}/account"
    print(json.dumps({"urls": [place.stub.url for place in places], "account": url}), flush=True)
    bursts = [asyncio.ensure_future(place.bursts(seed + n)) for n, place in enumerate(places)]
    outages = asyncio.ensure_future(places[1].outages(seconds))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in (*bursts, outages):
        task.cancel()
    for runner in (*(place.runner for place in places), clerk):
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), int(sys.argv[2])))
