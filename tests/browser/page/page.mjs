// The least that a front end does: one message through the official SDK, the reply or the refusal into the document.

import { Letta } from '/sdk/index.mjs';

window.send = async ({ url, bearer, agentId, text }) => {
  const [reply, refusal] = [document.getElementById('reply'), document.getElementById('refusal')];
  const client = new Letta({ baseURL: url, apiKey: bearer });
  try {
    const messages = [{ role: 'user', content: text }];
    for await (const event of await client.agents.messages.stream(agentId, { messages, stream_tokens: true })) {
      if (event.message_type === 'assistant_message') reply.append(event.content);
    }
  } catch (error) {
    const { name } = error.constructor;
    refusal.textContent = `${name} ${error.message} [${error.error?.code}, ${error.headers?.get('x-request-id')}]`;
  }
};
