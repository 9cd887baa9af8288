#!/usr/bin/env python3
"""Security alerts: the admin role assigned, a second factor switched off, failed logins."""

import sys

import subscriber

CHANNEL = "user_service.events.security"


def describe(event: dict) -> str:
    data = event["data"]
    match event["event_type"]:
        case "role.assigned" if data["role_name"] == "admin":
            return f"ALERT admin role assigned by {event['actor']}"
        case "mfa.disabled":
            return f"ALERT second factor {data['method']} switched off"
        case "login.failed":
            ip = event["metadata"].get("ip", "?")
            return f"ALERT login as {data['identifier']} failed from {ip}: {data['reason']}"
        case _:  # also a type that was added after this program was written
            return "noted"


if __name__ == "__main__":
    sys.exit(subscriber.main(CHANNEL, describe))
