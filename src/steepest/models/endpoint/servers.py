"""The servers behind one name: each with its connections, its limits and its rests, and which one is asked next."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ipaddress
import json
import logging
import math
from collections import Counter
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from steepest.models.endpoint.limits import Backoff, Bucket
from steepest.models.endpoint.replies import Refusal, refusal, shortened
from steepest.models.endpoint.settings import Settings

LARGEST_BODY = 2**24
"""Bytes of an answer that are read: thrice what 64 vectors of 4,096 numbers take, the most that is asked for."""
_LARGE = 2**20
_MISSES = 3
"""So many requests in a row that fail, and a server is rested where there are others."""
_SOON = aiohttp.ClientTimeout(total=5)


class Server:
    """One server: what is sent to it, how fast, and whether it is worth asking now."""

    def __init__(self, settings: Settings, backoff: Backoff) -> None:
        """`settings` name this server alone."""
        self.settings = settings
        self.running = 0
        self.resume_at = 0.0
        """When it may be asked again, after it asked to wait or failed."""
        self.is_resting = False
        """Whether it failed so often that it is only probed, until something of it is heard."""
        self.is_probed = False
        """Whether a probe is under way."""
        self.counts: Counter[str] = Counter()
        """What became of the requests that were sent: "answered", or the kind of refusal; and its "rests"."""
        self._backoff = backoff
        self._rests = self._misses = 0
        self._requests, self._tokens = Bucket(settings.rpm), Bucket(settings.tpm)
        self._session: aiohttp.ClientSession

    def connect(self) -> None:
        """Make ready to send, in the loop that will."""
        self._session = _session(self.settings)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def wait(self, now: float, cost: float) -> float:
        """Seconds until it may be sent something of so many tokens; infinite while it has no free place."""
        if self.is_resting or self.running >= self.settings.concurrency:
            return math.inf
        return max(self.resume_at - now, self._requests.wait(now, 1), self._tokens.wait(now, cost))

    def begin(self, cost: float) -> None:
        """Count a request of so many tokens as sent."""
        self.running += 1
        self._requests.take(1)
        self._tokens.take(cost)

    def answered(self, extra: float) -> None:
        """Count an answer, of so many tokens more than were expected."""
        self.counts["answered"] += 1
        self._tokens.take(extra)
        self._work()

    def pause(self, until: float) -> None:
        """Send nothing before."""
        self.resume_at = max(self.resume_at, until)

    def missed(self, now: float, why: Refusal, is_first: bool) -> None:
        """Count a failure that may be the server's, while another one is up: after some in a row it rests.

        `is_first`: of this request, which may itself be what fails, and is no evidence twice.
        """
        self._misses += is_first
        if not self.is_resting and (why.kind == "unreachable" or self._misses >= _MISSES):
            self._rest(now, why)

    def is_rested(self, now: float) -> bool:
        """Whether it is time to probe it."""
        return self.is_resting and not self.is_probed and now >= self.resume_at

    def probed(self, now: float, found: Any) -> None:
        """Hear what came of a probe, the answer or a Refusal; one that concerns the request shows that it is up.

        Where it has answered a request meanwhile, a probe that failed does not count: others may rest by now, and not
        all may.
        """
        self.is_probed = False
        if not (isinstance(found, Refusal) and found.kind in ("again", "pause", "unreachable")):
            self._work()
        elif self.is_resting:
            self._rest(now, found)

    def _rest(self, now: float, why: Refusal) -> None:
        """Rest, the longer the more often."""
        if not self.counts["rests"]:
            said = shortened(self.settings.redacted(why.reason))
            logging.getLogger("steepest").warning(
                "%s is rested (%s); its requests go to the other servers", self.settings.url, said
            )
        self.counts["rests"] += 1
        self.is_resting = True
        self._rests += 1
        self.pause(now + max(why.after or 0.0, self._backoff.wait(self._rests)))

    def _work(self) -> None:
        self.is_resting = False
        self._rests = self._misses = 0

    async def ask(self, path: str, body: bytes) -> bytes | Refusal:
        """The body of an answer of status 200, or why there is none."""
        try:
            # aiohttp warns of long bodies that are not streamed.
            data = body if len(body) < _LARGE else io.BytesIO(body)
            async with self._session.post(self._url(path), data=data, allow_redirects=False) as reply:
                content = await _content(reply)
                if content is None:
                    return Refusal("never", f"an answer of more than {LARGEST_BODY // 2**20} MiB")
                return content if reply.status == 200 else refusal(reply.status, reply.headers, content)
        except aiohttp.ClientConnectorError as error:
            return Refusal("unreachable", f"no connection: {_reason(error.os_error)}")
        except TimeoutError:
            return Refusal("again", f"no answer within {self.settings.timeout:g} seconds")
        except (aiohttp.ClientError, OSError) as error:
            return Refusal("again", f"the connection broke: {_reason(error)}")

    async def offered(self) -> list[str]:
        """Names of the models that the server says it has; empty where it does not say."""
        try:
            async with self._session.get(self._url("/models"), allow_redirects=False, timeout=_SOON) as reply:
                body = await _content(reply)
            return [str(each["id"]) for each in json.loads(body or b"")["data"]]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, RecursionError):
            return []

    def _url(self, path: str) -> URL:
        return URL(self.settings.url + path, encoded=True)


class Servers:
    """All servers of one name: alike, so that whichever has a free place takes the next request."""

    def __init__(self, settings: Settings, backoff: Backoff) -> None:
        self.each = [Server(settings.at(url), backoff) for url in settings.urls]

    def next(self, now: float, cost: float, last: Server | None) -> tuple[Server, float]:
        """Which to ask, and in how many seconds; infinite where all are full.

        `last` has failed with this very request: any other is asked rather.
        """
        waits = {server: server.wait(now, cost) for server in self.each}

        def order(server: Server) -> Any:
            return max(0.0, waits[server]), server is last, server.running

        first = min(self.each, key=order)
        return first, waits[first]

    def are_up_beside(self, server: Server) -> bool:
        """Whether another one can be asked instead; so of all servers one never rests."""
        return any(not other.is_resting for other in self.each if other is not server)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(server.close() for server in self.each))


async def _content(reply: aiohttp.ClientResponse) -> bytes | None:
    """The body, unless it is larger than any answer; the connection is given up then."""
    content = bytearray()
    async for part in reply.content.iter_any():
        content += part
        if len(content) > LARGEST_BODY:
            reply.close()
            return None
    return bytes(content)


def _session(settings: Settings) -> aiohttp.ClientSession:
    headers = {"Content-Type": "application/json"}
    if key := settings.key:
        headers["Authorization"] = f"Bearer {key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.concurrency + 1),  # a probe beside what may be stuck
        timeout=aiohttp.ClientTimeout(total=settings.timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        proxy=_proxy(settings.url),
    )


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`; none on the way to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return None
    if host == "localhost" or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientResponseError):  # its own words hold the url, a proxy's with the password
        return f"HTTP {error.status} {error.message}"
    if isinstance(error, aiohttp.InvalidURL):  # ours was checked before
        return "the address of the proxy cannot be read"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
