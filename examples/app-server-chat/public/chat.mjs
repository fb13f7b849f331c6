// The page. It asks its own back end for tokens and talks to the agent directly, through the official client.

import { Connection } from '/connection.mjs';

const $ = (id) => document.getElementById(id);

const connection = new Connection(fetchSession, { message: receive, opened, lost });
/** Replies that arrive: the list item of each message, by run and id. */
const replies = new Map();
/** Whether the agent is at work, as far as we know. */
let isRunning = true;
/** Whether a turn is in progress whose beginning we missed. */
let isIncomplete = false;
let latestHistory = 0;

/** Fetches a fresh token; undefined, and the login form, if nobody is logged in. */
async function fetchSession() {
  const response = await fetch('/token', { method: 'POST' }).catch(() => {
    throw new Error('The chat server cannot be reached.');
  });
  if (response.status === 401) {
    showOnly('login');
    return undefined;
  }
  if (!response.ok) throw new Error((await response.json()).message);
  const session = await response.json();
  $('user').textContent = session.user;
  return session;
}

/** A socket is open. After a gap, the page may lack some messages. */
function opened(hadGap) {
  if (!hadGap) return;
  showOnly('chat');
  $('notice').textContent = $('notice').textContent.replace('Connecting again…', 'Connected again.');
  replies.clear();
  isIncomplete = true;
  showHistory();
  allowSending();
}

function lost(words, isFinal) {
  $('notice').textContent = isFinal ? words : `${words} Connecting again…`;
  allowSending();
}

/** Takes a frame of the App Server. Those that come over two sockets come here twice. */
function receive({ type, delta, loop_status: loop }) {
  if (type === 'update_loop_status') {
    isRunning = loop.status !== 'WAITING_ON_INPUT';
    allowSending();
  }
  if (type === 'stream_delta') {
    if (delta.message_type === 'assistant_message') showPiece(delta);
    if (delta.message_type === 'loop_error' || delta.message_type === 'error_message') show(delta);
  }
  if (type === 'turn_finished' && isIncomplete) showHistory();
}

/** Shows a piece of a reply once, in its place: of two sockets, one may be ahead of the other. */
function showPiece({ id, run_id: run, seq_id: number, content }) {
  const key = `${run} ${id}`;
  if (!replies.has(key)) replies.set(key, addItem('assistant', ''));
  const reply = replies.get(key);
  const pieces = [...reply.childNodes];
  if (pieces.some((piece) => piece.number === number)) return;
  const piece = Object.assign(document.createTextNode(textOf(content)), { number });
  reply.insertBefore(piece, pieces.find((later) => later.number > number) ?? null);
  reply.scrollIntoView({ block: 'end' });
}

async function showHistory() {
  const ours = ++latestHistory;
  try {
    const roles = { user_message: 'user', assistant_message: 'assistant' };
    const messages = (await connection.messages()).filter((message) => roles[message.message_type]).reverse();
    if (ours !== latestHistory) return;
    const items = messages.map(({ message_type: type, content }) => itemOf(roles[type], textOf(content)));
    // Of a turn in progress, what arrives goes on below; all of it is in the list when the turn has finished.
    $('messages').replaceChildren(...items, ...(isRunning ? replies.values() : []));
    $('messages').lastElementChild?.scrollIntoView({ block: 'end' });
    isIncomplete = isRunning;
  } catch (error) {
    // Without a connection, the next one brings us here again.
    if (connection.isOpen) show(error);
  }
}

/** One turn at a time. */
function allowSending() {
  $('composer').elements.send.disabled = isRunning || !connection.isOpen;
}

async function send() {
  const { text } = $('composer').elements;
  const content = text.value;
  const item = addItem('user', content);
  text.value = '';
  isRunning = true;
  allowSending();
  try {
    await connection.send(content);
  } catch (error) {
    item.remove();
    text.value = content;
    isRunning = false;
    allowSending();
    if (connection.isOpen) throw error;
    throw new Error('The connection was lost. See whether your message has arrived before you send it again.');
  }
}

/** Text goes into the document as text, never as markup: neither the model nor the user is trusted with that. */
function itemOf(role, text) {
  const item = document.createElement('li');
  item.className = role;
  item.append(text);
  return item;
}

function addItem(role, text) {
  const item = itemOf(role, text);
  $('messages').append(item);
  item.scrollIntoView({ block: 'end' });
  return item;
}

const textOf = (content) => (typeof content === 'string' ? content : content.map((part) => part.text ?? '').join(''));

function showOnly(view) {
  for (const id of ['login', 'chat']) $(id).hidden = id !== view;
}

function show(problem) {
  $('problem').textContent = problem.message;
}

/** Runs an action for a form or button, and tells the user when it fails. */
function on(id, event, action) {
  $(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    $('problem').textContent = '';
    await action().catch(show);
  });
}

on('login', 'submit', async () => {
  const body = JSON.stringify(Object.fromEntries(new FormData($('login'))));
  const response = await fetch('/login', { method: 'POST', body });
  if (!response.ok) throw new Error((await response.json()).message);
  $('login').reset();
  await connection.connect();
});

on('composer', 'submit', async () => {
  $('notice').textContent = '';
  await send();
});

on('logout', 'click', async () => {
  connection.close();
  await fetch('/logout', { method: 'POST' });
  location.reload();
});

connection.connect();
