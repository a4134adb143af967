"""How fast does the endpoint client answer, beside the ideal, bare aiohttp and the `openai` client?

A stub server in a process of its own answers each call after a fixed time. The ideal is waves of `concurrency`
calls times that time. Clients take turns, round by round; median and minimum are printed. CPU is the client
process's own. The openai client is measured where it is installed: pip install 'steepest[bench]'.

    python bench/endpoint.py [--rounds 7] [--latency 0.05]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from multiprocessing.connection import Connection
from urllib.request import urlopen

import aiohttp
from aiohttp import web

from steepest.models import open_model
from steepest.types import Request

SIZES = ((500, 32), (2000, 128))
TARGETS = {32: 1.10, 128: 1.30}
PROMPT = "A farmer has {} cows." + " He buys two more each week for three weeks. How many does he have then?" * 5


@dataclass(frozen=True)
class Round:
    """What one client took for all calls."""

    wall: float
    cpu: float
    peak: int


def serve(told: Connection, latency: float) -> None:
    """Answer chat completions after `latency` seconds, and tell how many were waited for at most."""
    flying = {"now": 0, "peak": 0}
    message = {"role": "assistant", "content": "He has 42 cows."}
    answer = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "stub",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 6, "total_tokens": 96},
    }  # fmt: skip
    body = json.dumps(answer).encode()

    async def chat(request: web.Request) -> web.Response:
        flying["now"] += 1
        flying["peak"] = max(flying["peak"], flying["now"])
        await request.read()
        await asyncio.sleep(latency)
        flying["now"] -= 1
        return web.Response(body=body, content_type="application/json")

    async def peak(_: web.Request) -> web.Response:
        seen, flying["peak"] = flying["peak"], 0
        return web.json_response(seen)

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", chat), web.get("/peak", peak)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def steepest_client(url: str, calls: int, concurrency: int) -> Callable[[], None]:
    """Steepest's endpoint, opened and closed in each round."""

    def run() -> None:
        with closing(open_model(f"openai:stub@{url}", concurrency=concurrency)) as model:
            answers = dict(model.generate([Request(PROMPT.format(i)) for i in range(calls)]))
        assert len(answers) == calls and all(a.text == "He has 42 cows." for a in answers.values())

    return run


def aiohttp_client(url: str, calls: int, concurrency: int) -> Callable[[], None]:
    """The floor: nothing but requests, without a retry, a limit or a check."""

    async def main() -> None:
        numbers, answers = iter(range(calls)), []
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask() -> None:
                for i in numbers:
                    message = {"role": "user", "content": PROMPT.format(i)}
                    body = {"model": "stub", "messages": [message], "temperature": 0.0, "max_tokens": 256}
                    async with session.post(f"{url}/chat/completions", json=body) as reply:
                        answers.append((await reply.json())["choices"][0]["message"]["content"])

            await asyncio.gather(*(ask() for _ in range(concurrency)))
        assert len(answers) == calls

    return lambda: asyncio.run(main())


def openai_client(url: str, calls: int, concurrency: int, with_aiohttp: bool) -> Callable[[], None]:
    """The same through AsyncOpenAI and a semaphore."""
    import openai

    async def main() -> None:
        http = openai.DefaultAioHttpClient() if with_aiohttp else None
        places = asyncio.Semaphore(concurrency)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http) as client:

            async def ask(i: int) -> str:
                async with places:
                    message = {"role": "user", "content": PROMPT.format(i)}
                    done = await client.chat.completions.create(
                        model="stub", messages=[message], temperature=0.0, max_tokens=256
                    )
                    return done.choices[0].message.content

            answers = await asyncio.gather(*(ask(i) for i in range(calls)))
        assert all(answer == "He has 42 cows." for answer in answers)

    return lambda: asyncio.run(main())


def measured(run: Callable[[], None], url: str) -> Round:
    peak = url.replace("/v1", "/peak")
    urlopen(peak).read()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Round(wall, cpu, json.load(urlopen(peak)))


def compare(url: str, calls: int, concurrency: int, rounds: int, latency: float) -> None:
    ideal = ceil(calls / concurrency) * latency
    clients = {
        "steepest": steepest_client(url, calls, concurrency),
        "aiohttp, bare": aiohttp_client(url, calls, concurrency),
    }
    if find_spec("openai"):
        clients["openai, aiohttp"] = openai_client(url, calls, concurrency, True)
        clients["openai"] = openai_client(url, calls, concurrency, False)
    taken: dict[str, list[Round]] = {name: [] for name in clients}
    for run in clients.values():
        run()  # imports, and connections that the server must learn to expect
    for _ in range(rounds):
        for name, run in clients.items():
            taken[name].append(measured(run, url))
    print(f"{calls} calls, {concurrency} at once, {latency * 1000:.0f} ms each: ideal {ideal:.2f} s")
    for name, each in taken.items():
        wall, cpu = sorted(r.wall for r in each), sorted(1000 * r.cpu / calls for r in each)
        print(
            f"  {name:16} wall {wall[0]:6.2f} s (median {statistics.median(wall):6.2f})   "
            f"x ideal {wall[0] / ideal:5.2f} ({statistics.median(wall) / ideal:5.2f})   "
            f"CPU {cpu[0]:5.2f} ms/call ({statistics.median(cpu):5.2f})   peak {max(r.peak for r in each)}"
        )
    print(f"  target: at most {TARGETS[concurrency]:.2f} x ideal and 0.30 ms/call")


def main() -> None:
    """Print wall time, ratio to the ideal, CPU per call and the peak in flight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--latency", type=float, default=0.05)
    args = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, args.latency), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/v1"
    try:
        for calls, concurrency in SIZES:
            compare(url, calls, concurrency, args.rounds, args.latency)
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
