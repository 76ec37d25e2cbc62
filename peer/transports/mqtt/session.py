"""The connection to the broker: made, watched, and made again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import aiomqtt
import anyio
from anyio.abc import TaskGroup
from paho.mqtt.reasoncodes import ReasonCode

from ....crypto.identity import Entropy
from .client import Client, abandon, new_client
from .limits import MqttLimits
from .publisher import DENIED, Publisher
from .refusal import Refusal, explain
from .settings import MqttSettings

FAREWELL_S = 1.0
Receive = Callable[[str, bytes], None]


class MqttSession:
    """A connection to the broker of ``settings``, for as long as ``run`` runs.

    ``receive`` gets each message and must not wait. ``came`` and ``went`` are called when the
    connection is there and when it is gone. ``warn`` gets what a person should know. Messages are
    sent by ``out``.
    """

    def __init__(
        self,
        settings: MqttSettings,
        limits: MqttLimits,
        *,
        client_id: str,
        presence: str,
        echo: tuple[str, bytes],
        receive: Receive,
        came: Callable[[], None],
        went: Callable[[str], None],
        warn: Callable[[str], None],
        entropy: Entropy,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._client_id = client_id
        self._presence = presence
        self._echo_topic, self._echo = echo
        self._receive = receive
        self._came = came
        self._went = went
        self._warn = warn
        self._entropy = entropy
        self._filters: set[str] = set()
        self._stale: set[str] = set()
        self._tls = settings.tls_context()
        self._client: Client | None = None
        self._known = False  # it was reached once: what it says from now on is for it to mend
        self._told: dict[str, float] = {}  # why it cannot be reached, and since when
        self._tasks: TaskGroup | None = None
        self._lost = asyncio.Event()
        self._why = ""
        self._silent_beats = 0
        self._echoed = False
        self._since = 0.0
        self._hints = True
        self.out = Publisher(limits, lose=self._lose, warn=warn)

    def follow(self, filters: Iterable[str], stale: Iterable[str]) -> None:
        """Subscribe to exactly these topics, now and after each new connection.

        ``stale`` are others that the broker may remember of a run before.
        """
        wanted = set(filters)
        self._stale = set(stale) - wanted
        more, fewer = wanted - self._filters, self._filters - wanted
        self._filters = wanted
        if self._tasks is not None:
            self._tasks.start_soon(self._refollow, more, fewer)

    async def open(self) -> None:
        """Connect, or say once why that cannot be, and leave it to ``run``.

        Raises TransportError for a mistake: the broker was never reached, and what keeps it from
        being reached is no weather, or has lasted for longer than weather does.
        """
        refusal = await self._connect()
        if refusal is None:
            self._known = True
            self._told.clear()
            return
        now = anyio.current_time()
        is_new = refusal.error.what not in self._told
        since = self._told.setdefault(refusal.error.what, now)
        if not self._known and now - since >= refusal.patience_s:
            raise refusal.error
        if is_new:
            self._warn(f"{refusal.error}; waiting for it")

    async def run(self) -> None:
        """Stay connected until cancelled; raises TransportError as ``open`` does."""
        wait_s = self._limits.backoff_min_s
        while True:
            if self._client is not None:
                self._since = anyio.current_time()
                await self._serve(self._client)
                self._drop()
                if anyio.current_time() - self._since > self._limits.broker_backoff_max_s:
                    wait_s = self._limits.backoff_min_s
            share = int.from_bytes(self._entropy(4), "big") / 2**32
            await anyio.sleep(wait_s * (0.5 + share / 2))
            wait_s = min(2 * wait_s, self._limits.broker_backoff_max_s)
            await self.open()

    async def close(self, farewell: Sequence[tuple[str, bytes]]) -> None:
        """Send the ``farewell`` and disconnect, so that the broker does not publish the will."""
        client = self._client
        if client is None:
            return
        with suppress(aiomqtt.MqttError, ValueError), anyio.move_on_after(FAREWELL_S, shield=True):
            for topic, payload in farewell:
                await client.say(topic, payload, qos=0, timeout_s=FAREWELL_S)
            await client.say(self._presence, b"", qos=0, retain=True, timeout_s=FAREWELL_S)
            await client.__aexit__(None, None, None)
        self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            abandon(self._client)
            self._client = None

    async def _connect(self) -> Refusal | None:
        """Connect; gives why there is no connection."""
        client = new_client(
            self._settings, self._limits, self._client_id, self._presence, self._tls
        )
        try:
            # Cancelling would leave a thread behind that connects after all.
            with anyio.CancelScope(shield=True):
                await client.__aenter__()
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            abandon(client)
            return explain(error, self._settings)
        self._client = client
        await anyio.lowlevel.checkpoint_if_cancelled()
        return None

    async def _serve(self, client: Client) -> None:
        """Use a connection until it breaks."""
        self._lost = asyncio.Event()
        self._silent_beats = 0
        self._echoed = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, client)
                self._tasks = tasks
                self.out.attach(client, tasks, hints=self._hints)
                await self._refollow(self._filters, self._stale)
                self.out.hint(self._presence, b"here")
                if not self._lost.is_set():
                    tasks.start_soon(self._watch)
                    self._came()
                    await self._lost.wait()
                tasks.cancel_scope.cancel()
        finally:
            self._tasks = None
            self.out.detach()
            self._went(self._why)

    def _lose(self, why: str) -> None:
        """Give the connection up; the first reason given is the one that is told."""
        if self._lost.is_set():
            return
        self._why = why
        self._lost.set()
        # mosquitto 2.0.11 closes a connection for one message that its ACL denies. The next one
        # goes without those that are not needed, lest it be closed again and again.
        brief = anyio.current_time() - self._since < self._limits.silence_s
        self._hints = not (brief and self._hints)
        more = "; perhaps its ACL denies what this peer publishes" if brief else ""
        self._warn(f"{self._settings.url}: the connection to the broker broke: {why}{more}")

    async def _read(self, client: Client) -> None:
        try:
            async for message in client.messages:
                self._silent_beats = 0
                topic, payload = str(message.topic), message.payload
                if topic == self._echo_topic:
                    self._echoed = self._echoed or payload == self._echo
                elif isinstance(payload, bytes):
                    self._receive(topic, payload)
        except aiomqtt.MqttError as error:
            self._lose(_reason(error))

    async def _watch(self) -> None:
        """Notice a broker that is silent, and one that does not deliver."""
        limits = self._limits
        allowed = round(limits.silence_s / limits.heartbeat_s)
        self.out.post(self._echo_topic, self._echo)
        beats = 0
        while True:
            await anyio.sleep(limits.heartbeat_s)
            beats += 1
            self._silent_beats += 1
            if beats == allowed and not self._echoed:
                self._warn(
                    f"{self._settings.url}: the broker does not deliver what this peer publishes to"
                    f" itself: its ACL denies 'write' or 'read' of {self._echo_topic} to this"
                    " user, or the user name is not the one that the ACL expects"
                )
            if self._echoed and self._silent_beats >= allowed:
                self._lose(f"nothing was heard for {limits.silence_s:g} s")
            elif self._silent_beats > 1:
                self.out.post(self._echo_topic, self._echo)

    async def _refollow(self, more: set[str], fewer: set[str]) -> None:
        client = self._client
        assert client is not None
        try:
            if more:
                filters = sorted(more)
                codes = await client.subscribe([(name, 1) for name in filters])
                denied = [
                    name
                    for name, code in zip(filters, codes, strict=False)
                    if _code(code) >= DENIED
                ]
                if denied:
                    self._warn(
                        f"{self._settings.url}: the broker denies the subscription to"
                        f" {', '.join(denied)}; check its ACL"
                    )
            gone = fewer - self._filters  # some may be wanted again by now
            if gone:  # last: what an old and a new filter match is heard throughout
                await client.unsubscribe(sorted(gone))
        except aiomqtt.MqttError as error:
            self._lose(str(error))


def _reason(error: aiomqtt.MqttError) -> str:
    """Why the connection broke. paho calls every end without a reason an unspecified error."""
    cause = error.__cause__
    code = getattr(cause, "rc", None)
    if isinstance(code, ReasonCode) and code.value != DENIED:
        return str(code)
    return "it was closed" if code is not None else str(cause or error)


def _code(answer: object) -> int:
    """The number of a SUBACK's answer, which is a ReasonCode in MQTT 5 and a number before."""
    return answer.value if isinstance(answer, ReasonCode) else int(str(answer))
