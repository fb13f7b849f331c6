// A toy login, so that the example runs by itself. A real application already has its own: use that, and keep only the
// idea that the server, never the page, decides whose agent a token is for.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

import { answer, bodyOf, Refusal } from './http.mjs';

const PASSWORDS = new Map([
  ['alice', 'wonderland'],
  ['bob', 'builder'],
]);
const SESSION_SECONDS = 7 * 24 * 60 * 60;
// Made anew at each start, so a restart logs everybody out; several instances would share one.
const SECRET = randomBytes(32);

const sign = (text) => createHmac('sha256', SECRET).update(text).digest('base64url');
// Comparing digests of equal length takes the same time wherever the texts differ.
const same = (left, right) => timingSafeEqual(Buffer.from(sign(left)), Buffer.from(sign(right)));

/** The route that logs a user in. */
export async function logIn(request, response, origin) {
  const { user, password } = await bodyOf(request);
  // JSON holds more than texts, and none of it may reach code that expects one.
  if (typeof user !== 'string' || typeof password !== 'string') {
    throw new Refusal(400, 'Send a user and a password, each as a text.');
  }
  if (!passwordMatches(user, password)) return answer(response, 401, { message: 'Wrong name or password.' });
  response.setHeader('set-cookie', cookieFor(user, origin));
  answer(response, 200, { user });
}

/** Wraps a route that only a logged-in user may reach. */
export function forUser(route) {
  return (request, response) => {
    const user = userOf(request.headers.cookie);
    if (!user) return answer(response, 401, { message: 'Log in first.' });
    return route(user, request, response);
  };
}

function passwordMatches(user, password) {
  const expected = PASSWORDS.get(user);
  return same(String(password), String(expected)) && expected !== undefined;
}

/** A cookie that scripts cannot read and other sites cannot send: `user.expiry.signature`. */
function cookieFor(user, origin) {
  const claim = `${user}.${Math.floor(Date.now() / 1000) + SESSION_SECONDS}`;
  const secure = origin.startsWith('https:') ? '; Secure' : '';
  return `session=${claim}.${sign(claim)}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${SESSION_SECONDS}${secure}`;
}

export const clearedCookie = () => 'session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0';

/** The user whom a Cookie header proves, if any. */
function userOf(header = '') {
  const [, user, expiry, signature] = /(?:^|; )session=(\w+)\.(\d+)\.([\w-]+)/.exec(header) ?? [];
  if (!user || !same(signature, sign(`${user}.${expiry}`))) return undefined;
  return Number(expiry) > Date.now() / 1000 ? user : undefined;
}
