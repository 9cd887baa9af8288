// Subscribes to one channel of the event bus and prints a line for each event.
//
// Nothing here comes from the bus: an event is a JSON object on a Redis Pub/Sub channel, so SUBSCRIBE and a JSON
// parser are all that a subscriber needs, in any language. security.mjs and user.mjs say which channel, and what an
// event means to them.
//
// Redis Pub/Sub forgets: what is published while this program is not connected does not arrive later. So the program
// says when it is subscribed ("ready"), when it is not (on stderr), and finds out within 15 seconds where a connection
// is dead without having been closed.

import { parseArgs } from 'node:util';
import { createClient } from 'redis';

const DEFAULT_URL = 'redis://localhost:6379';
const ASK_EVERY = 5_000; // milliseconds between two requests for a sign of life
const DEAD_AFTER = 10_000; // milliseconds without an answer after which the connection is taken for dead
const RETRY_EVERY = 1_000; // milliseconds between two attempts to connect

const CONTROL_CHARACTERS = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g;

// main runs a subscriber until SIGINT or SIGTERM, or until --count events have come.
export async function main(channel, describe) {
  const { values } = parseArgs({ options: { count: { type: 'string', default: '0' } } });
  const limit = Number(values.count);
  if (!Number.isInteger(limit) || limit < 0) fail(`--count is not a number of events: ${values.count}`);

  let count = 0;
  let stopped = false;
  const stop = () => {
    stopped = true;
    client.destroy(); // nothing is left to be read
    say(`stopped after ${count} events`);
  };
  const receive = (body) => {
    if (stopped) return; // the rest of what came in one read
    const line = describeBody(body, describe);
    if (line === null) return;
    console.log(line);
    count += 1;
    if (count === limit) stop();
  };

  const client = newClient();
  let subscribed = false;
  client.on('ready', () => subscribed && console.log('ready')); // connected and subscribed again
  client.on('error', (error) => {
    say(`not connected, events may be missed: ${error.message || error.code}`);
    if (!client.isOpen && !stopped) fail('the server does not let us in'); // it will not connect again
  });
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => stopped || stop());
  }
  try {
    await client.connect();
    await client.subscribe(channel, receive);
    subscribed = true;
    console.log('ready');
  } catch (error) {
    if (!stopped) throw error; // else it was stopped before it could connect
  }
}

// newClient makes a client that connects again and again, and finds out where a connection is dead.
function newClient() {
  try {
    return createClient({
      url: process.env.EVENTBUS_URL || DEFAULT_URL,
      pingInterval: ASK_EVERY,
      socket: {
        socketTimeout: DEAD_AFTER,
        reconnectStrategy: (_, cause) => (/^(WRONGPASS|NOAUTH|NOPERM)/.test(cause.message) ? false : RETRY_EVERY),
      },
    });
  } catch {
    fail('EVENTBUS_URL is no Redis URL');
  }
}

// describeBody makes the line for one message, or null where it is not an event: a bad message never ends a
// subscription.
function describeBody(body, describe) {
  try {
    const event = JSON.parse(body);
    const fields = [event.event_type, event.priority, event.subject ?? 'null', describe(event), event.event_id];
    return fields.map(visible).join('\t');
  } catch (error) {
    say(`skipped a message that is not an event as expected: ${error.name}: ${error.message}`);
    return null;
  }
}

// visible replaces control characters: whoever chose a name must not break the line, nor drive the terminal.
function visible(text) {
  if (typeof text !== 'string') throw new TypeError('a field is missing');
  return text.replace(CONTROL_CHARACTERS, '\ufffd');
}

function say(text) {
  console.error(visible(text));
}

function fail(text) {
  say(text);
  process.exit(1);
}
