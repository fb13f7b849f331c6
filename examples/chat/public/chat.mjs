// The page. It asks its own back end for a token and then talks to the agent directly, through the official SDK.

import { AuthenticationError, Letta } from '/sdk/index.mjs';

const $ = (id) => document.getElementById(id);

/** What the back end last gave us: {user, agentId, token, lifetimeSeconds, baseURL}. */
let session;
let letta;
let renewal;

/** Fetches a fresh token; false, and the login form, when nobody is logged in. */
async function renewToken() {
  const response = await fetch('/token', { method: 'POST' });
  if (response.status === 401) {
    showOnly('login');
    return false;
  }
  if (!response.ok) throw new Error((await response.json()).message);
  session = await response.json();
  letta = new Letta({ apiKey: session.token, baseURL: session.baseURL });
  // In good time before the token expires. Timers sleep when the computer does, which is why `withToken` exists too.
  clearTimeout(renewal);
  renewal = setTimeout(() => renewToken().catch(show), session.lifetimeSeconds * 800);
  return true;
}

/** Makes a call; when the token turns out to be expired or revoked, gets a new one and makes the call once more. */
async function withToken(call) {
  try {
    return await call();
  } catch (error) {
    const renewable = ['token_expired', 'token_revoked'].includes(error.error?.code);
    if (!(error instanceof AuthenticationError && renewable && (await renewToken()))) throw error;
    return call();
  }
}

async function send(content) {
  addMessage('user', content);
  const messages = [{ role: 'user', content }];
  const stream = await withToken(() =>
    letta.agents.messages.stream(session.agentId, { messages, stream_tokens: true }),
  );
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
  const page = await withToken(() => letta.agents.messages.list(session.agentId, { limit: 50 }));
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
  if (!(await renewToken())) return;
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
  clearTimeout(renewal);
  await fetch('/logout', { method: 'POST' });
  location.reload();
});

open().catch(show);
