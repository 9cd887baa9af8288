"""Subscribes to one channel of the event bus and prints a line for each event.

Nothing here comes from the bus: an event is a JSON object on a Redis Pub/Sub channel, so SUBSCRIBE and a JSON parser
are all that a subscriber needs, in any language. security.py and user.py say which channel, and what an event means
to them.

Redis Pub/Sub forgets: what is published while this program is not connected does not arrive later. So the program says
when it is subscribed ("ready"), when it is not (on stderr), and finds out within 15 seconds where a connection is dead
without having been closed.
"""

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

DEFAULT_URL = "redis://localhost:6379"
ASK_AFTER = 5.0  # seconds of silence before the server is asked for a sign of life
DEAD_AFTER = 10.0  # seconds of silence after which the connection is taken for dead
RETRY_EVERY = 1.0  # seconds between two attempts to connect

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def main(channel: str, describe: Callable[[dict], str]) -> int:
    """Runs a subscriber until SIGINT or SIGTERM, or until --count events have come, and returns the exit status."""
    parser = argparse.ArgumentParser(description=f"Prints the events of {channel}, from the Redis at EVENTBUS_URL.")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N events (default: never)")
    limit = parser.parse_args().count

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)  # raises KeyboardInterrupt, also where a shell ignores SIGINT
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")

    try:
        # Our loop is the one that reconnects: it says so, and it never gives up.
        url = os.environ.get("EVENTBUS_URL") or DEFAULT_URL
        client = redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0))
    except ValueError as error:
        say(f"EVENTBUS_URL is no Redis URL: {error}")
        return 1

    count = 0
    try:
        for body in bodies(client, channel):
            line = describe_body(body, describe)
            if line is None:
                continue
            count += 1
            print(line, flush=True)
            if count == limit:
                break
    except KeyboardInterrupt:
        pass
    except redis.AuthenticationError as error:
        say(f"the server wants another password: {error}")
        return 1
    say(f"stopped after {count} events")
    return 0


def bodies(client: redis.Redis, channel: str) -> Iterator[bytes]:
    """Yields what is published on a channel, for ever: a lost connection is made again."""
    while True:
        try:
            with client.pubsub() as pubsub:
                pubsub.subscribe(channel)
                yield from received(pubsub)
        except redis.AuthenticationError:
            raise
        except (redis.ConnectionError, redis.TimeoutError) as error:
            say(f"not connected, events may be missed: {error}")
            time.sleep(RETRY_EVERY)


def received(pubsub: redis.client.PubSub) -> Iterator[bytes]:
    """Yields what arrives on one connection, until it is lost."""
    heard = time.monotonic()
    while True:
        message = pubsub.get_message(timeout=ASK_AFTER)
        if message is not None:
            heard = time.monotonic()  # the answer to a ping counts too
            if message["type"] == "subscribe":
                print("ready", flush=True)
            elif message["type"] == "message":
                yield message["data"]
        elif time.monotonic() - heard >= DEAD_AFTER:
            raise redis.ConnectionError(f"silent for {DEAD_AFTER:.0f} seconds")
        else:
            pubsub.ping()


def describe_body(body: bytes, describe: Callable[[dict], str]) -> str | None:
    """Makes the line for one message, or None where it is not an event: a bad message never ends a subscription."""
    try:
        event = json.loads(body.decode("utf-8"))
        subject = event["subject"] if event["subject"] is not None else "null"
        fields = [event["event_type"], event["priority"], subject, describe(event), event["event_id"]]
        return "\t".join(visible(field) for field in fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        say(f"skipped a message that is not an event as expected: {type(error).__name__}: {error}")
        return None


def visible(text: str) -> str:
    """Replaces control characters: whoever chose a name must not break the line, nor drive the terminal."""
    return CONTROL_CHARACTERS.sub("\ufffd", text)


def say(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)
