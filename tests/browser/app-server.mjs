// A Letta App Server for the browser tests: frames are those of a recording of a real one, with other ids and texts.
//
// It knows the commands of a chat and of its back end, with one conversation for each agent. What the agent replies
// follows the model of tests/app-server: `[[slow N]]` are N words, `[[say TEXT]]` is the text.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

const RECORDING = new URL('../data/app-server/frames.jsonl', import.meta.url);
const TOKEN = 'app-server-canary';
const PIECE_MS = 50;

const recorded = (await readFile(RECORDING, 'utf8'))
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))
  .filter(({ dir }) => dir === 'down')
  .map(({ frame }) => frame);

/** The first recorded frame of a type, with some values of its own. */
function frameOf(type, values, matches = () => true) {
  const frame = recorded.find((frame) => frame.type === type && matches(frame));
  return { ...structuredClone(frame), ...values };
}

const deltaOf = (type, values) => {
  const frame = frameOf('stream_delta', {}, ({ delta }) => delta.message_type === type);
  return { ...frame, delta: { ...frame.delta, ...values } };
};

export async function startAppServer() {
  const agents = new Map();
  const sockets = [];
  let [conversations, runs] = [0, 0];

  const http = createServer((request, response) => response.writeHead(request.url === '/readyz' ? 200 : 404).end());
  const server = new WebSocketServer({ noServer: true });
  http.on('upgrade', (request, socket, head) => {
    if (request.headers.authorization !== `Bearer ${TOKEN}` || request.headers.origin) {
      return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
    }
    server.handleUpgrade(request, socket, head, (socket) => {
      sockets.push(socket);
      socket.on('message', (text) => receive(socket, JSON.parse(text)));
      socket.on('close', () => sockets.splice(sockets.indexOf(socket), 1));
    });
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));

  const self = {
    url: `ws://127.0.0.1:${http.address().port}/ws`,
    token: TOKEN,
    /** How much later every other subscriber of an agent gets an event. */
    lagMs: 0,
    /** Ends all sockets, as a server that is killed. */
    drop: () => sockets.forEach((socket) => socket.terminate()),
    stop() {
      self.drop();
      http.closeAllConnections();
      return new Promise((resolve) => http.close(resolve));
    },
  };
  return self;

  function receive(socket, frame) {
    const send = (frame) => socket.send(JSON.stringify(frame));
    const respond = (values, matches) =>
      send(frameOf(`${frame.type}_response`, { request_id: frame.request_id, ...values }, matches));
    const ofConversation = [...agents.values()].find(({ conversation }) => conversation?.id === frame.conversation_id);
    const agent = agents.get(frame.agent_id ?? (frame.runtime ?? frame.query ?? frame.body)?.agent_id) ?? ofConversation;
    switch (frame.type) {
      case 'app_server_info':
        return respond({});
      case 'get_reflection_settings': {
        const { reflection_settings: settings } = frameOf('get_reflection_settings_response');
        return respond({ reflection_settings: { ...settings, agent_id: frame.runtime.agent_id, trigger: 'off' } });
      }
      case 'agent_list': {
        const { tags } = frame.query;
        const found = [...agents.values()].filter(({ record }) => tags.every((tag) => record.tags.includes(tag)));
        return respond({ agents: found.map(({ record }) => record) });
      }
      case 'agent_create': {
        const id = `agent-local-${randomUUID()}`;
        const record = { ...frameOf('agent_retrieve_response').agent, id, name: frame.body.name, tags: frame.body.tags };
        agents.set(id, { record, messages: [], subscribers: new Set(), isRunning: false });
        return send({ type: 'agent_create_response', request_id: frame.request_id, success: true, agent: record });
      }
      case 'conversation_list':
        return respond({ conversations: agent.conversation ? [agent.conversation] : [] });
      case 'conversation_create':
        agent.conversation = {
          ...frameOf('conversation_create_response').conversation,
          id: `local-conv-${(conversations += 1)}`,
          agent_id: agent.record.id,
        };
        return respond({ conversation: agent.conversation });
      case 'conversation_retrieve': {
        if (ofConversation) return respond({ conversation: ofConversation.conversation }, ({ success }) => success);
        return respond({}, ({ success }) => !success);
      }
      case 'runtime_start': {
        const runtime = { agent_id: frame.agent_id, conversation_id: frame.conversation_id };
        const replay = () => send(envelope(runtime, loopStatus(agent.isRunning)));
        socket.isSlow = agent.subscribers.size % 2 === 0;
        agent.subscribers.add(socket);
        if (frame.wait_for_replay) replay();
        respond({ runtime, agent: agent.record, conversation: agent.conversation }, ({ success }) => success);
        return frame.wait_for_replay ? undefined : replay();
      }
      case 'conversation_messages_list': {
        const messages = agent.messages.toReversed().slice(0, frame.query.limit);
        return respond({ messages, next_before: null, has_more: false }, ({ success }) => success);
      }
      case 'input':
        send(frameOf('input_accepted', { request_id: frame.request_id, runtime: frame.runtime }));
        return turn(agent, frame.runtime, frame.payload.messages[0]);
    }
  }

  /** One turn, event by event. Like a real server, it stores a message when it is complete. */
  async function turn(agent, runtime, { content, client_message_id: otid }) {
    const publish = (frame) => {
      for (const socket of sockets.filter((socket) => agent.subscribers.has(socket))) {
        const send = () => socket.send(JSON.stringify(envelope(runtime, frame)));
        if (self.lagMs && socket.isSlow) setTimeout(send, self.lagMs);
        else send();
      }
    };
    const stored = (type, id, values) => {
      const { messages } = frameOf('conversation_messages_list_response');
      const template = messages.find((message) => message.message_type === type);
      agent.messages.push({ ...template, id, ...ids(runtime), ...values });
    };
    const run_id = `local-run-${++runs}`;
    const id = () => `ui-msg-${agent.messages.length + 1}`;
    agent.isRunning = true;
    publish(loopStatus(true));
    const reminder = { type: 'text', text: '<system-reminder>The host is canary-host.</system-reminder>' };
    stored('user_message', id(), { otid, content: [reminder, { type: 'text', text: content }] });
    const pieces = piecesOf(content);
    const reply = id();
    for (const [index, text] of pieces.entries()) {
      await new Promise((resolve) => setTimeout(resolve, PIECE_MS));
      const place = { run_id, seq_id: index + 1 };
      publish(deltaOf('assistant_message', { id: reply, ...ids(runtime), content: [{ type: 'text', text }], ...place }));
    }
    stored('assistant_message', reply, { content: [{ type: 'text', text: pieces.join('') }] });
    publish(deltaOf('stop_reason', { run_id, seq_id: pieces.length + 1 }));
    agent.isRunning = false;
    publish(loopStatus(false));
    publish(frameOf('turn_finished', { turn_id: `turn-${randomUUID()}`, run_id }));
  }
}

const ids = ({ agent_id, conversation_id }) => ({ agent_id, conversation_id });

const loopStatus = (isRunning) =>
  frameOf('update_loop_status', {}, ({ loop_status: { status } }) =>
    isRunning ? status === 'PROCESSING_API_RESPONSE' : status === 'WAITING_ON_INPUT',
  );

let events = 0;
function envelope(runtime, frame) {
  events += 1;
  return { ...frame, runtime: ids(runtime), event_seq: events, idempotency_key: `${frame.type}:${events}:${randomUUID()}` };
}

function piecesOf(content) {
  const slow = /\[\[slow (\d+)\]\]/.exec(content);
  if (slow) return Array.from({ length: Number(slow[1]) }, (_, index) => `word${index} `);
  return /\[\[say (.*)\]\]/s.exec(content)[1].match(/.{1,8}/gs);
}
