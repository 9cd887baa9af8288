#!/usr/bin/env node
// Security alerts: the admin role assigned, a second factor switched off, failed logins.

import { main } from './subscriber.mjs';

const CHANNEL = 'user_service.events.security';

function describe({ event_type: type, actor, data, metadata }) {
  switch (type) {
    case 'role.assigned':
      return data.role_name === 'admin' ? `ALERT admin role assigned by ${actor}` : 'noted';
    case 'mfa.disabled':
      return `ALERT second factor ${data.method} switched off`;
    case 'login.failed':
      return `ALERT login as ${data.identifier} failed from ${metadata.ip ?? '?'}: ${data.reason}`;
    default: // also a type that was added after this program was written
      return 'noted';
  }
}

await main(CHANNEL, describe);
