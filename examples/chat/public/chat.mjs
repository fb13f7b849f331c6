// The page. It asks its own back end for a token and then talks to the agent directly, through the official SDK.

import { tokenFetch } from '/gatelet/index.mjs';
import { Letta } from '/sdk/index.mjs';

const $ = (id) => document.getElementById(id);

/** What the back end first gave us: {user, agentId, token, expiresIn, baseURL}. */
let session;
let letta;

async function fetchToken() {
  const response = await fetch('/token', { method: 'POST' });
  if (response.status === 401) showOnly('login');
  return response;
}

async function send(content) {
  addMessage('user', content);
  const messages = [{ role: 'user', content }];
  const stream = await letta.agents.messages.stream(session.agentId, { messages, stream_tokens: true });
  let reply;
  for await (const event of stream) {
    if (event.message_type === 'assistant_message') {
      reply ??= addMessage('assistant', '');
      reply.append(event.content);
      reply.scrollIntoView({ block: 'end' });
    }
  }
}

async function showHistory() {
  const page = await letta.agents.messages.list(session.agentId, { limit: 50 });
  for (const message of page.getPaginatedItems()) {
    if (message.message_type === 'user_message') addMessage('user', message.content);
    if (message.message_type === 'assistant_message') addMessage('assistant', message.content);
  }
}

/** Text goes into the document as text, never as markup: neither the model nor the user is trusted with that. */
function addMessage(role, content) {
  const item = document.createElement('li');
  item.className = role;
  item.append(typeof content === 'string' ? content : content.map((part) => part.text ?? '').join(''));
  $('messages').append(item);
  item.scrollIntoView({ block: 'end' });
  return item;
}

function showOnly(view) {
  for (const id of ['login', 'chat']) $(id).hidden = id !== view;
}

function show(problem) {
  $('problem').textContent = problem.message;
}

/** Opens the chat, or stays at the login form. */
async function open() {
  const response = await fetchToken();
  if (response.status === 401) return;
  const body = await response.json();
  if (!response.ok) throw new Error(body.message);
  session = body;
  const { baseURL } = session;
  // From here on every request has a valid token, which is renewed when it must be.
  letta = new Letta({ baseURL, apiKey: 'replaced', fetch: tokenFetch({ baseURL, fetchToken, token: session }) });
  $('user').textContent = session.user;
  await showHistory();
  showOnly('chat');
  $('messages').lastElementChild?.scrollIntoView({ block: 'end' });
  $('composer').elements.text.focus();
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
  await open();
});

on('composer', 'submit', async () => {
  const { text, send: button } = $('composer').elements;
  const content = text.value;
  text.value = '';
  // One turn at a time: an agent that is still answering refuses the next message.
  button.disabled = true;
  await send(content).finally(() => (button.disabled = false));
});

on('logout', 'click', async () => {
  await fetch('/logout', { method: 'POST' });
  location.reload();
});

open().catch(show);
