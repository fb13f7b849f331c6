// The socket to the agent. It ends with its token, so the next one is opened before that: while both are open, both bring
// every event, and none is missed.

import { createAppServerClient } from '/client/app-server-client.js';

// Gatelet's close codes. 4429, 1012 and 1013 are left: connect again later, as after any other loss.
const TOKEN_ENDED = 4401;
const NO_ACCESS = 4403;

/** What the reasons that come with close codes mean to a user. */
const WORDS = {
  token_expired: 'Your access expired while this page was away.',
  token_revoked: 'Your access was revoked.',
  access_not_granted: 'You have no access to this agent.',
  rate_limited: 'There are too many messages or open pages.',
  restarting: 'The server restarts.',
  upstream_unreachable: 'The agent is away.',
};
const LONGEST_PAUSE = 30_000;

/** A socket could not be opened. */
class Unopened extends Error {
  constructor(message, isFinal) {
    super(message);
    this.isFinal = isFinal;
  }
}

export class Connection {
  #fetchSession;
  #on;
  /** All clients whose sockets are open or opening, and the one of them to send on. */
  #clients = new Set();
  #client;
  #runtime;
  #connecting;
  #renewal;
  #isClosed = false;

  /**
   * @param fetchSession gives {agentId, conversationId, token, lifetimeSeconds, url}; undefined if nobody is logged in
   * @param on what to call: `message(frame)`, maybe with copies; `opened(hadGap)`; `lost(words, isFinal)`
   */
  constructor(fetchSession, on) {
    this.#fetchSession = fetchSession;
    this.#on = on;
  }

  get isOpen() {
    return this.#client !== undefined;
  }

  /** Opens a socket after a pause, and tries again for as long as that may help. */
  connect(pause = 0) {
    this.#connecting ??= this.#keepTrying(pause).finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  async #keepTrying(pause) {
    for (;;) {
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      if (this.#isClosed) return;
      try {
        return await this.#open();
      } catch (error) {
        // As long as the last socket is open, nobody needs to know.
        if (!this.isOpen) this.#on.lost(error.message, error.isFinal);
        if (error.isFinal) return;
      }
      pause = Math.min(Math.max(2 * pause, 1_000), LONGEST_PAUSE);
    }
  }

  /** Opens one more socket with a new token, and makes it the one to send on. */
  async #open() {
    const session = await this.#fetchSession();
    if (!session) {
      this.#end();
      throw new Unopened('', true);
    }
    const client = createAppServerClient({ url: `${session.url}?token=${session.token}` });
    let ended;
    this.#clients.add(client);
    client.onMessage((frame) => this.#on.message(frame));
    client.onDisconnect(({ event }) => {
      ended = event;
      this.#clients.delete(client);
      if (client === this.#client) this.#lost(event);
    });
    const conversation = { agent_id: session.agentId, conversation_id: session.conversationId };
    const start = await client
      .connect()
      // With the state of the conversation first, which says whether a turn is in progress.
      .then(() => client.runtimeStart({ ...conversation, wait_for_replay: true }))
      .catch(() => {
        this.#drop(client);
        throw new Unopened(wordsFor(ended), ended?.code === NO_ACCESS);
      });
    if (!start.success) {
      this.#drop(client);
      throw new Unopened(start.error, false);
    }
    const hadGap = !this.isOpen;
    // The last socket stays open until its token ends: it may be behind, and what it still brings is not to be lost.
    this.#client = client;
    this.#runtime = start.runtime;
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => this.connect(), session.lifetimeSeconds * 800);
    this.#on.opened(hadGap);
  }

  #lost(event) {
    this.#client = undefined;
    this.#on.lost(wordsFor(event), event.code === NO_ACCESS);
    // An ended token is replaced at once, everything else needs time; without access there is nothing to wait for.
    if (event.code !== NO_ACCESS) this.connect(event.code === TOKEN_ENDED ? 0 : 1_000);
  }

  /** Sends a message to the agent; resolves once it is accepted. */
  async send(content) {
    const messages = [{ role: 'user', content, client_message_id: crypto.randomUUID() }];
    const sent = await this.#client.submitInput({ runtime: this.#runtime, payload: { kind: 'create_message', messages } });
    // The client raises no error of its own for this.
    if (!sent.accepted) throw new Error(sent.error);
  }

  /** The last messages of the conversation, the newest first. */
  async messages() {
    const { conversation_id } = this.#runtime;
    const list = await this.#client.request('conversation_messages_list', { conversation_id, query: { limit: 50 } });
    if (!list.success) throw new Error(list.error);
    return list.messages;
  }

  /** Ends the connection for good. */
  close() {
    this.#isClosed = true;
    this.#end();
  }

  #end() {
    clearTimeout(this.#renewal);
    this.#client = undefined;
    this.#clients.forEach((client) => this.#drop(client));
  }

  #drop(client) {
    this.#clients.delete(client);
    client.close();
  }
}

const wordsFor = (event) => WORDS[event?.reason] ?? 'The connection was lost.';
