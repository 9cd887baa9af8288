#!/usr/bin/env node
// What happens to users and their preferences.

import { main } from './subscriber.mjs';

const CHANNEL = 'user_service.events.user';

function describe({ event_type: type, actor, data }) {
  switch (type) {
    case 'user.registered':
      return `welcome ${data.name} <${data.email}>`;
    case 'user.updated':
      return `profile changed by ${actor}: ${data.updated_fields.join(', ')}`;
    case 'preferences.updated':
      return `preferences changed by ${actor}: ${data.updated_fields.join(', ')}`;
    case 'user.activated':
      return `activated by ${actor}`;
    case 'user.deactivated':
      return `deactivated by ${actor}: ${data.reason}`;
    case 'user.deleted':
      return `deleted by ${actor}: ${data.reason}`;
    default: // also a type that was added after this program was written
      return 'noted';
  }
}

await main(CHANNEL, describe);
