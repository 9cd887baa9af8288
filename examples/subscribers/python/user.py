#!/usr/bin/env python3
"""What happens to users and their preferences."""

import sys

import subscriber

CHANNEL = "user_service.events.user"


def describe(event: dict) -> str:
    data = event["data"]
    match event["event_type"]:
        case "user.registered":
            return f"welcome {data['name']} <{data['email']}>"
        case "user.updated":
            return f"profile changed by {event['actor']}: {', '.join(data['updated_fields'])}"
        case "preferences.updated":
            return f"preferences changed by {event['actor']}: {', '.join(data['updated_fields'])}"
        case "user.activated":
            return f"activated by {event['actor']}"
        case "user.deactivated":
            return f"deactivated by {event['actor']}: {data['reason']}"
        case "user.deleted":
            return f"deleted by {event['actor']}: {data['reason']}"
        case _:  # also a type that was added after this program was written
            return "noted"


if __name__ == "__main__":
    sys.exit(subscriber.main(CHANNEL, describe))
