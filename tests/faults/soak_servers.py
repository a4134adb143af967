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
from typing import Any

from aiohttp import web
from fault_storm import FAULTS, LONG, Storm

from models.endpoint.stub import Asked, Say, Stub, error

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
        if b'"usage"' in say.body:
            self._out[asked.body["model"]][json.dumps(asked.body)] += 1

    async def told(self, request: web.Request) -> web.Response:
        out = self._out.pop(request.query_string, Counter())
        return web.json_response({"answers": out.total(), "questions": len(out)})


async def main(seconds: float, seed: int) -> None:
    account, share = Account(), seconds / 3600
    weathers, stubs, sites, runners = [], [], [], []
    for number in range(2):
        weather = Weather(Storm(seed + number, longest=2, slowest=0.6, faults={**FAULTS, **LONG}))
        stub = Stub(weather, keeps=False, heard=account.heard)
        runner = await stub.runner()
        sites.append(await stub.begin(runner, 0))
        weathers.append(weather)
        stubs.append(stub)
        runners.append(runner)
    accounts = web.Application()
    accounts.add_routes([web.get("/account", account.told)])
    clerk = web.AppRunner(accounts, access_log=None)
    await clerk.setup()
    await web.TCPSite(clerk, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{clerk.addresses[0][1]}/account"
    print(json.dumps({"urls": [stub.url for stub in stubs], "account": url}), flush=True)

    async def outages() -> None:
        """The second server: down at a fifth of the time, silent at two fifths."""
        await asyncio.sleep(0.2 * seconds)
        weathers[1].now = "down"
        await sites[1].stop()
        await asyncio.sleep(DOWN * share)
        sites[1] = await stubs[1].begin(runners[1], int(stubs[1].url.rpartition(":")[2].partition("/")[0]))
        weathers[1].now = ""
        await asyncio.sleep(0.4 * seconds - 0.2 * seconds - DOWN * share)
        weathers[1].now = "silent"
        await asyncio.sleep(SILENT * share)
        weathers[1].now = ""

    async def bursts() -> None:
        dice = random.Random(seed)
        while True:
            await asyncio.sleep(dice.uniform(10, 60))
            weather = dice.choice(weathers)
            if not weather.now:
                weather.now = "burst"
                await asyncio.sleep(BURST)
                weather.now = "" if weather.now == "burst" else weather.now

    tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(outages()), asyncio.ensure_future(bursts())]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    for each in (*runners, clerk):
        await each.cleanup()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), int(sys.argv[2])))
